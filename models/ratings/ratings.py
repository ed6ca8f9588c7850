"""Ratings of models from battles: Bradley–Terry strengths, with intervals over prompts, and what limits them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from models.ratings.battles import Battles, read_battles
from models.ratings.bradley_terry import BradleyTerry, Fitted, covariates
from models.ratings.separation import boundary_refits, widened
from models.statistics.bootstrap import Bootstrap, Estimate, draws, t_estimates

ELO_PER_LOG_ODDS = 400 / np.log(10)
RESAMPLES = Bootstrap(resamples=1000)


@dataclass(frozen=True)
class Rating:
    """One model. `rank`: within its group, 1 + the models whose interval lies wholly above; None without intervals.
    `strength`: log-odds, relative to the mean of its group or to the anchor; `elo_scale`: the same where people expect
    Elo, on whose order of battles it does not depend. `win_rate`: share of points over all its battles, a tie is half.
    `flags`: why not to trust the strength."""

    model: str
    rank: int | None
    group: int
    strength: Estimate
    elo_scale: float
    win_rate: float
    battles: int
    flags: tuple[str, ...]


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

    def document(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return to_jsonable_python(self)


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
    alike, so that intervals then also reach the bounds of `models.ratings.separation`.

    Raises:
        ValueError: a table that cannot be read, an anchor that does not play, style without responses.
    """
    battles = table if isinstance(table, Battles) else read_battles(table, markdown=style)
    if anchor is not None and anchor not in battles.models:
        raise ValueError(f"anchor {anchor!r} has no battles; rated are {', '.join(battles.models)}")
    added = covariates(battles, order_effect, style)
    model = BradleyTerry(battles, added)
    full = model.fit(np.ones((battles.roots, 1)))
    drawn = bounds = None
    if battles.roots > 1:
        blocks = draws(battles.roots, settings, max(len(model.first), model.models**2))
        drawn = Fitted.joined([model.fit(block, full) for block in blocks])
        bounds = boundary_refits(model, full, drawn, settings.confidence)
    if anchor is not None:
        place = battles.models.index(anchor)
        full, drawn, bounds = (part and _anchored(part, place, model.groups) for part in (full, drawn, bounds))
    estimates = t_estimates(full.values[:, 0], drawn and drawn.values, model.roots_of, settings.confidence)
    if bounds:
        estimates = widened(estimates, bounds.values)
    effects = dict(zip(added.names, estimates[model.models :], strict=True))
    return Ratings(
        models=_table(battles, model.groups, estimates[: model.models]),
        order_effect=effects.pop("order", None),
        style=effects,
        battles=len(battles.first),
        prompts=len(battles.prompts),
        ties=float((battles.p_first == 0.5).mean()),
        notes=(*battles.notes, *added.notes, *_notes(battles, model.groups, full)),
    )


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
            rank=_rank(place, groups, strengths),
            group=int(groups[place]) + 1,
            strength=strengths[place],
            elo_scale=float(1000 + ELO_PER_LOG_ODDS * strengths[place].value),
            win_rate=float(won[place] / played[place]),
            battles=int(played[place]),
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
            f"{again} of {len(battles.first)} battles repeat the models, order and prompt of another: each counts "
            "here, their mean once in plumb winrate where the answers are the same"
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
