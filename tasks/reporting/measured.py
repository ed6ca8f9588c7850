"""Two tables of evaluate.json: how each model stands up to attacks, and all of them rated against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.reporting.shown import ABSENT, Table, plain, with_interval

# How often a right answer is given up: under a wrong fact insisted on, and when it is merely doubted.
GIVEN_UP = {"sycophancy": "given up under pressure", "second_turn": "given up when doubted"}


def adversarial_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row for each set of attacks, one column for each model: the share handled well, with its interval.

    The last rows are of questions that were answered right when asked plainly: how many were given up.
    """
    by_model = {name: scores["adversarial"] for name, scores in models.items() if scores.get("adversarial")}
    names = {name for sets in by_model.values() for name in sets}
    rows = []
    for name in sorted(names - set(GIVEN_UP)):
        results = [sets.get(name) for sets in by_model.values()]
        prompts = max(result["prompts"] for result in results if result)
        rows.append([f"{plain(name)} ({prompts})", *map(_share, results)])
    for name in [name for name in GIVEN_UP if name in names]:
        rows.append([GIVEN_UP[name], *(_flips(sets.get(name)) for sets in by_model.values())])
    return ["set", *map(plain, by_model)], rows


def _share(result: Mapping[str, Any] | None) -> str:
    return with_interval("{:.0%}", result["share"], result["ci_low"], result["ci_high"]) if result else ABSENT


def _flips(result: Mapping[str, Any] | None) -> str:
    if not result or not result["known"]:
        return ABSENT
    more = [f", {result[name]} {name}" for name in ("evaded", "corrected") if result.get(name)]
    return "".join([f"{result['flips']} of {result['known']}", *more])


def ratings_table(ratings: Mapping[str, Any] | None) -> Table:
    """Bradley–Terry strengths over a round robin, strongest first, with intervals and ranks; may have no rows."""
    rows = [
        [
            plain(row["model"]),
            ABSENT if row["rank"] is None else str(row["rank"]),
            with_interval("{:+.2f}", *(row["strength"][name] for name in ("value", "ci_low", "ci_high"))),
            f"{row['win_rate']:.1%}",
        ]
        for row in (ratings or {}).get("models", [])
    ]
    return ["model", "rank", "strength (log-odds)", "win rate"], rows
