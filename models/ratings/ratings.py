"""Ratings of models from battles: Bradley–Terry strengths, with intervals over prompts, and what limits them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from models.ratings.battles import Battles, read_battles
from models.ratings.bradley_terry import BradleyTerry, Fitted, covariates
from models.ratings.far_ends import far_ends, widened
from models.statistics.bootstrap import Bootstrap, Estimate, draws, t_estimates

ELO_PER_LOG_ODDS = 400 / np.log(10)
RESAMPLES = Bootstrap(resamples=1000)


@dataclass(frozen=True)
class Rating:
    """One model. `strength`: log-odds, relative to the mean of its group or to the anchor. `win_rate`: share of points
    over all its battles, a tie is half. `rank`: within its group, 1 + the models whose interval lies wholly above; None
    where there are no intervals. `flags`: why not to trust the strength."""

    model: str
    strength: Estimate
    rank: int | None
    win_rate: float
    battles: int
    group: int
    flags: tuple[str, ...]

    @property
    def elo_scale(self) -> float:
        """The strength where people expect Elo: 1000 + 400 / ln 10 per unit. Unlike Elo it depends on no order."""
        return 1000 + ELO_PER_LOG_ODDS * self.strength.value


@dataclass(frozen=True)
class Ratings:
    """`models`: by group, the strongest first. `order_effect`: log-odds for the one shown first; None where it cannot
    be told from the strengths. `style`: log-odds per root mean square of the difference. `notes`: one line each."""

    models: tuple[Rating, ...]
    order_effect: Estimate | None
    style: dict[str, Estimate]
    battles: int
    prompts: int
    ties: float
    notes: tuple[str, ...]

    @property
    def strengths(self) -> dict[str, float]:
        return {rating.model: rating.strength.value for rating in self.models}

    def expected(self, first: str, second: str) -> float:
        """Probability that `first`, shown first, beats `second`, at equal style.

        Raises ValueError for a model without battles, and across groups that no battles connect.
        """
        known = {rating.model: rating for rating in self.models}
        for name in (first, second):
            if name not in known:
                raise ValueError(f"{name!r} has no battles; rated are {', '.join(known)}")
        ours, theirs = known[first], known[second]
        if ours.group != theirs.group:
            raise ValueError(f"no battles connect {first!r} and {second!r}; they cannot be compared")
        gap = ours.strength.value - theirs.strength.value
        return float(expit(gap + (self.order_effect.value if self.order_effect else 0.0)))

    def document(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "models": [
                {
                    "model": rating.model,
                    "rank": rating.rank,
                    "group": rating.group,
                    "strength": rating.strength.document(),
                    "elo_scale": rating.elo_scale,
                    "win_rate": rating.win_rate,
                    "battles": rating.battles,
                    "flags": list(rating.flags),
                }
                for rating in self.models
            ],
            "order_effect": self.order_effect.document() if self.order_effect else None,
            "style": {name: effect.document() for name, effect in self.style.items()},
            "battles": self.battles,
            "prompts": self.prompts,
            "ties": self.ties,
            "notes": list(self.notes),
        }


def rate(
    table: Any,
    *,
    order_effect: bool = True,
    style: bool = False,
    anchor: str | None = None,
    settings: Bootstrap = RESAMPLES,
) -> Ratings:
    """Strengths of all models in a table of battles, by maximum likelihood, with bootstrap intervals over prompts.

    Args:
        table: any table that `models.ratings.battles.read_battles` takes, or its result.
        order_effect: estimate the advantage of the response shown first, where the data can tell it.
        style: control for differences in length, headers, lists and bold; strengths are then those at equal style.
        anchor: the model whose strength is 0, for its group; without one the mean of each group is 0.
        settings: confidence, resamples and seed of the bootstrap.

    A tie counts half. Where the likelihood has no maximum (a model never lost), every model is given one tie with an
    average player, in the fit of the data and in each resample that needs it; `notes` says so. Such resamples all look
    alike, so that intervals then also reach the far ends of `models.ratings.far_ends`.

    Raises:
        ValueError: a table that cannot be read, an anchor that does not play, style without responses.
    """
    battles = table if isinstance(table, Battles) else read_battles(table, markdown=style)
    if anchor is not None and anchor not in battles.models:
        raise ValueError(f"anchor {anchor!r} has no battles; rated are {', '.join(battles.models)}")
    added = covariates(battles, order_effect, style)
    model = BradleyTerry(battles, added)
    full = model.fit(np.ones((battles.roots, 1)))
    drawn = _resampled(model, battles, full, settings)
    ends = far_ends(model, full, drawn, settings.confidence) if drawn else None
    if anchor is not None:
        place = battles.models.index(anchor)
        full, drawn, ends = (part and _anchored(part, place, model.groups) for part in (full, drawn, ends))
    rated, effects = _estimates(model, full, drawn, ends, settings.confidence)
    named = dict(zip(added.names, effects, strict=True))
    return Ratings(
        models=_table(battles, model.groups, rated),
        order_effect=named.pop("order", None),
        style=named,
        battles=len(battles.first),
        prompts=len(battles.prompts),
        ties=float((battles.p_first == 0.5).mean()),
        notes=(*battles.notes, *added.notes, *_notes(battles, model.groups, full)),
    )


def _resampled(model: BradleyTerry, battles: Battles, full: Fitted, settings: Bootstrap) -> Fitted | None:
    if battles.roots < 2:
        return None
    rows = max(len(model.first), len(battles.models) ** 2)
    parts = [model.fit(drawn, full) for drawn in draws(battles.roots, settings, rows)]
    return Fitted(
        np.concatenate([part.strengths for part in parts], axis=1),
        np.concatenate([part.effects for part in parts], axis=1),
        np.concatenate([part.unbounded for part in parts]),
    )


def _estimates(
    model: BradleyTerry, full: Fitted, drawn: Fitted | None, ends: Fitted | None, confidence: float
) -> tuple[list[Estimate], list[Estimate]]:
    """Strengths and effects with their intervals."""
    values = np.concatenate([full.strengths[:, 0], full.effects[:, 0]])
    resamples = np.vstack([drawn.strengths, drawn.effects]) if drawn else None
    found = t_estimates(values, resamples, model.roots_of, confidence)
    if ends:
        found = widened(found, np.vstack([ends.strengths, ends.effects]))
    return found[: model.models], found[model.models :]


def _anchored(fitted: Fitted, place: int, groups: np.ndarray) -> Fitted:
    """Strengths of the anchor's group relative to the anchor."""
    inside = (groups == groups[place])[:, None]
    return replace(fitted, strengths=fitted.strengths - np.where(inside, fitted.strengths[place], 0))


def _table(battles: Battles, groups: np.ndarray, strengths: list[Estimate]) -> tuple[Rating, ...]:
    count = len(battles.models)
    played = np.bincount(battles.first, minlength=count) + np.bincount(battles.second, minlength=count)
    won = np.bincount(battles.first, battles.p_first, count) + np.bincount(battles.second, 1 - battles.p_first, count)
    ratings = [
        Rating(
            model=battles.models[place],
            strength=strengths[place],
            rank=_rank(place, groups, strengths),
            win_rate=float(won[place] / played[place]),
            battles=int(played[place]),
            group=int(groups[place]) + 1,
            flags=_flags(won[place], played[place]),
        )
        for place in range(count)
    ]
    return tuple(sorted(ratings, key=lambda rating: (rating.group, -rating.strength.value, rating.model)))


def _rank(place: int, groups: np.ndarray, strengths: list[Estimate]) -> int | None:
    """As on the Arena: one more than the models of the group that are certainly stronger."""
    ours = strengths[place]
    if ours.ci_high is None:
        return None
    others = [strengths[other] for other in np.flatnonzero(groups == groups[place]) if other != place]
    return 1 + sum(other.ci_low > ours.ci_high for other in others)


def _flags(won: float, played: float) -> tuple[str, ...]:
    if won == played:
        return ("never lost",)
    return ("never won",) if won == 0 else ()


def _notes(battles: Battles, groups: np.ndarray, full: Fitted) -> list[str]:
    notes = []
    same = np.unique(np.stack([battles.prompt, battles.first, battles.second]), axis=1).shape[1]
    if again := len(battles.first) - same:
        notes.append(
            f"{again} of {len(battles.first)} battles repeat the models, order and prompt of another: each counts here, "
            "their mean once in plumb winrate where the answers are the same"
        )
    if battles.roots < 2:
        notes.append("all battles belong to one prompt (or root): no intervals and no ranks, which are over prompts")
    if full.unbounded[0]:
        notes.append(
            "some strengths or effects have no finite maximum likelihood (someone, or a whole group, never lost to the "
            "rest): every model was given one tie with an average player"
        )
    if groups.max() > 0:
        named = "; ".join(f"{number + 1}: {_members(battles, groups == number)}" for number in range(groups.max() + 1))
        notes.append(f"no battles connect these groups of models, so nothing ranks across them: {named}")
    return notes


def _members(battles: Battles, inside: np.ndarray, shown: int = 5) -> str:
    names = [battles.models[place] for place in np.flatnonzero(inside)]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
