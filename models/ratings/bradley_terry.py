"""Bradley–Terry as a logistic regression on battles, fitted to many resamples of the prompts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from models.ratings.battles import Battles
from models.ratings.style import STYLE, relative_difference
from models.statistics.logistic import Design, fit

SAME = 1e-8  # share of a covariate's sum of squares below which the others explain it wholly


@dataclass(frozen=True, eq=False)
class Covariates:
    """What moves a battle beside the players: `values` (battles, covariates), `names`, and why any are missing."""

    values: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Fitted:
    """One column per resample.

    `strengths`: (models, resamples) log-odds, mean 0 in each group; nan for a model that was not drawn. `effects`:
    (covariates, resamples) log-odds per unit. `unbounded`: (resamples,), True where the likelihood has no maximum.
    """

    strengths: np.ndarray
    effects: np.ndarray
    unbounded: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Fitted]) -> Fitted:
        """The resamples of all parts, in order."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts], axis=-1) for field in fields(cls)))

    @property
    def values(self) -> np.ndarray:
        """(models + covariates, resamples)."""
        return np.vstack([self.strengths, self.effects])


def covariates(battles: Battles, order_effect: bool, style: bool) -> Covariates:
    """The order effect (1 in every battle) and the style differences in units of their root mean square.

    Root mean square, and no centring as in z-scores: swapping the two responses must change the sign and nothing else.
    A covariate that the strengths and the covariates before it explain wholly cannot be estimated and is left out; so
    is the order where it is fixed by who plays, or by who won.
    """
    notes = [reason] if order_effect and (reason := _order_is_given(battles)) else []
    columns: dict[str, np.ndarray] = {"order": np.ones(len(battles.first))} if order_effect and not notes else {}
    if style:
        counts = np.concatenate([battles.lengths[:, :, None], battles.markdown], axis=2)
        if np.isnan(counts).any():
            missing = int(np.isnan(counts).any(axis=(1, 2)).sum())
            raise ValueError(
                f"{missing} of {len(counts)} battles have no responses to measure style in; give response_a and "
                "response_b (or first_response and second_response), or leave style out"
            )
        for name, difference in zip(STYLE, relative_difference(counts[:, 0], counts[:, 1]).T, strict=True):
            scale = np.sqrt(np.mean(difference**2))
            columns[name] = difference / scale if scale > 0 else difference
    kept: list[str] = []
    for name in columns:
        if _is_identified(battles, [columns[other] for other in kept], columns[name]):
            kept.append(name)
        else:
            notes.append(_FIXED if name == "order" else _ALIKE.format(name=name))
    values = np.stack([columns[name] for name in kept], axis=1) if kept else np.zeros((len(battles.first), 0))
    return Covariates(values, tuple(kept), tuple(notes))


_ALIKE = "style: {name} does not differ, or differs as the models do; it is left out"
_FIXED = (
    "the order effect is left out: who is shown first is fixed by who plays, so it cannot be told from the strengths"
)
_SORTED = (
    "the order effect is left out: the winner stands {place} in {share:.0%} of {count} decided battles that were not "
    "asked in both orders, so the table is sorted by who won, or its judge sees nothing but the place"
)
SWAPPED_SHARE = 0.05  # of the battles, against any ladder of the models: enough to tell an order effect by
SORTED_SHARE, LEAST_DECIDED = 0.95, 10  # of decided battles; no judge of answers is as fond of a place


def _order_is_given(battles: Battles) -> str | None:
    """Why the effect of order cannot be told from the strengths, if it cannot.

    It can where enough battles stand against any ladder of the models: where all follow one, an effect of order is also
    a distance between its steps. And it cannot where the outcome decides who is written first; only a prompt whose pair
    stands in both orders shows that it does not.
    """
    met = np.zeros((len(battles.models),) * 2)
    np.add.at(met, (battles.first, battles.second), 1)
    if _against_a_ladder(met) < SWAPPED_SHARE * len(battles.first):
        return _FIXED
    pair = np.stack([battles.prompt, *np.sort([battles.first, battles.second], axis=0)])
    _, group = np.unique(pair, axis=1, return_inverse=True)
    forward = np.bincount(group.ravel(), battles.first < battles.second) / np.bincount(group.ravel())
    decided = ((forward == 0) | (forward == 1))[group.ravel()] & (battles.p_first != 0.5)
    won = float((battles.p_first[decided] > 0.5).mean()) if decided.sum() >= LEAST_DECIDED else 0.5
    if max(won, 1 - won) < SORTED_SHARE:
        return None
    return _SORTED.format(place="first" if won > 0.5 else "second", share=max(won, 1 - won), count=int(decided.sum()))


def _against_a_ladder(met: np.ndarray) -> float:
    """How many battles, of `met` (models, models) by who stands first, are against a ladder that few are against.

    The fewest are a minimum feedback arc set, which is hard; this moves one model at a time to its best place.
    """
    net = met - met.T
    ladder = list(np.argsort(-net.sum(axis=1) / (met + met.T).sum(axis=1), kind="stable"))
    moved = True
    while moved:
        moved = False
        for model in tuple(ladder):
            place = ladder.index(model)
            ladder.remove(model)
            costs = np.concatenate([[0.0], np.cumsum(net[model, ladder])])
            best = int(costs.argmin()) if costs.min() < costs[place] else place
            ladder.insert(best, model)
            moved |= best != place
    return float(np.tril(met[np.ix_(ladder, ladder)]).sum())


def _is_identified(battles: Battles, others: Sequence[np.ndarray], column: np.ndarray) -> bool:
    """Whether the column is no sum of differences in strength and of the `others`."""
    size = float(column @ column)
    design = _matrix(battles.first, battles.second, others, len(battles.models))
    gram = (design.T @ design).toarray()
    weights = np.linalg.lstsq(gram, design.T @ column, rcond=1e-10)[0]
    rest = column - design @ weights
    return size > 0 and float(rest @ rest) > SAME * size


class BradleyTerry:
    """P(first wins) = sigmoid(strength of first - strength of second + effects * covariates) (Bradley and Terry 1952).

    Without style, battles of the same two models in the same order differ in their outcome only, and are added up
    before anything is fitted. `groups`: (models,), models that no chain of battles connects have different numbers.
    `whole`: (rows, models + covariates), the design of what was added up; `share`: (rows,), of the first's wins.
    """

    def __init__(self, battles: Battles, added: Covariates) -> None:
        self.models, self.roots = len(battles.models), battles.roots
        plain = all(name == "order" for name in added.names)
        keys = battles.first * self.models + battles.second if plain else np.arange(len(battles.first))
        _, kept, row = np.unique(keys, return_index=True, return_inverse=True)
        self.first, self.second = battles.first[kept], battles.second[kept]
        self.covariates = added.values[kept]
        shape = (len(kept), battles.roots)
        self._counts = sparse.csr_array((np.ones(len(row)), (row, battles.root)), shape)
        self._wins = sparse.csr_array((battles.p_first, (row, battles.root)), shape)
        self._pairs, pair = np.unique(np.stack([self.first, self.second]), axis=1, return_inverse=True)
        self._meetings = sparse.csr_array((np.ones(len(kept)), (pair.ravel(), np.arange(len(kept)))))
        self.groups = connected_components(_links(self.first, self.second, self.models), directed=False)[1]
        # One model of each group is the zero that the others are measured from.
        self._zeros = np.unique(self.groups, return_index=True)[1]
        self.whole = _matrix(self.first, self.second, self.covariates.T, self.models)
        self._free = np.setdiff1d(np.arange(self.whole.shape[1]), self._zeros)
        self._design = Design(self.whole[:, self._free])
        self._playing = abs(self.whole[:, : self.models]).T.tocsr()
        self._total = np.asarray(self._counts.sum(axis=1)).ravel()
        self.share = np.asarray(self._wins.sum(axis=1)).ravel() / self._total

    @cached_property
    def _tied_design(self) -> Design:
        """For where the likelihood has no maximum: every model ties once with an added average player (the zero), and
        every covariate moves one tie, the smallest data that make all parameters finite."""
        return Design(sparse.vstack([self.whole, sparse.eye_array(self.whole.shape[1])], format="csr"))

    def fit(self, drawn: np.ndarray, start: Fitted | None = None) -> Fitted:
        """Maximum likelihood for each column of `drawn` (roots, resamples): how often each root counts."""
        counts, wins = self._counts @ drawn, self._wins @ drawn
        present = self._playing @ counts > 0
        values = np.zeros((self.whole.shape[1], drawn.shape[1]))
        bounded = self._has_maximum(counts, wins, present)
        if bounded.any():
            fitted = fit(self._design, counts[:, bounded], wins[:, bounded], self._start(start))
            values[np.ix_(self._free, bounded)] = fitted.parameters
            bounded[bounded] = fitted.finite
        if not bounded.all():
            ties = np.ones((len(values), (~bounded).sum()))
            tied_counts, tied_wins = np.vstack([counts[:, ~bounded], ties]), np.vstack([wins[:, ~bounded], ties / 2])
            values[:, ~bounded] = fit(self._tied_design, tied_counts, tied_wins, np.zeros(len(values))).parameters
        strengths = self._centred(np.where(present, values[: self.models], np.nan))
        return Fitted(strengths, values[self.models :], ~bounded)

    def refit(self, shares: np.ndarray) -> Fitted:
        """Maximum likelihood for each column of `shares` (rows, sets): all battles, with other shares of wins."""
        counts = np.repeat(self._total[:, None], shares.shape[1], axis=1)
        fitted = fit(self._design, counts, counts * shares, np.zeros(len(self._free)))
        values = np.zeros((self.whole.shape[1], shares.shape[1]))
        values[self._free] = fitted.parameters
        return Fitted(self._centred(values[: self.models]), values[self.models :], ~fitted.finite)

    def components(self) -> np.ndarray:
        """(models,): models that beat each other along chains (a strong component) have the same number."""
        won, lost = self.share > 0, self.share < 1
        start = np.concatenate([self.first[won], self.second[lost]])
        end = np.concatenate([self.second[won], self.first[lost]])
        return connected_components(_links(start, end, self.models), connection="strong")[1]

    @cached_property
    def roots_of(self) -> np.ndarray:
        """(models + covariates,): the roots that each model plays on, and those where each covariate is not 0."""
        played = np.diff(sparse.csr_array(self._playing @ self._counts).indptr)
        differing = [self.roots_on(column != 0) for column in self.covariates.T]
        return np.concatenate([played, np.array(differing, dtype=played.dtype)])

    def roots_on(self, rows: np.ndarray) -> int:
        """How many roots the battles in `rows` (boolean) belong to."""
        return len(np.unique(self._counts[np.flatnonzero(rows)].indices))

    def _start(self, start: Fitted | None) -> np.ndarray:
        if start is None:
            return np.zeros(len(self._free))
        strengths = start.strengths[:, 0]
        return np.concatenate([strengths - strengths[self._zeros][self.groups], start.effects[:, 0]])[self._free]

    def _has_maximum(self, counts: np.ndarray, wins: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(resamples,): whether in each group every model beat every other along some chain (Ford 1957). Necessary;
        with covariates not sufficient, which the fit finds out."""
        won, lost = self._meetings @ wins > 0, self._meetings @ (counts - wins) > 0
        sets = counts.shape[1]
        one, other = (players[:, None] + self.models * np.arange(sets) for players in self._pairs)
        links = _links(
            np.concatenate([one[won], other[lost]]), np.concatenate([other[won], one[lost]]), self.models * sets
        )  # the graphs of all resamples, in one
        _, first = np.unique(connected_components(links, connection="strong")[1], return_index=True)
        members = np.equal.outer(np.unique(self.groups), self.groups)
        fewest = (members @ present).sum(axis=0) + (~present).sum(axis=0)  # who was not drawn stands alone
        return np.bincount(first // self.models, minlength=sets) == fewest

    def _centred(self, strengths: np.ndarray) -> np.ndarray:
        for group in np.unique(self.groups):
            inside = self.groups == group
            there = ~np.isnan(strengths[inside])
            mean = np.nansum(strengths[inside], axis=0) / np.maximum(there.sum(axis=0), 1)
            strengths[inside] -= mean
        return strengths


def _matrix(first: np.ndarray, second: np.ndarray, added: Sequence[np.ndarray], models: int) -> sparse.csr_array:
    """(rows, models + covariates): 1 for the first player, -1 for the second, then the covariates."""
    count = len(first)
    places = (np.tile(np.arange(count), 2), np.concatenate([first, second]))
    players = sparse.csr_array((np.repeat([1.0, -1.0], count), places), (count, models))
    return sparse.csr_array(sparse.hstack([players, *(column[:, None] for column in added)]))


def _links(start: np.ndarray, end: np.ndarray, size: int) -> sparse.csr_array:
    return sparse.csr_array((np.ones(len(start)), (start, end)), (size, size))
