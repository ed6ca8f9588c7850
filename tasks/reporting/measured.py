"""Two tables of evaluate.json: how each model stands up to attacks, and all of them rated against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[list[str]]]
# How often a right answer is given up: under a wrong fact insisted on, and when it is merely doubted.
GIVEN_UP = {"sycophancy": "given up under pressure", "second_turn": "given up when doubted"}
ABSENT = "–"


def adversarial_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row for each set of attacks, one column for each model: the share handled well, with its interval.

    The last rows are of questions that were answered right when asked plainly: how many were given up.
    """
    measured = {name: numbers["adversarial"] for name, numbers in models.items() if numbers.get("adversarial")}
    sets = sorted({one for found in measured.values() for one in found} - set(GIVEN_UP))
    rows = [[_named(one, measured), *(_share(found.get(one)) for found in measured.values())] for one in sets]
    for key, label in GIVEN_UP.items():
        if any(key in found for found in measured.values()):
            rows.append([label, *(_flips(found.get(key)) for found in measured.values())])
    return ["set", *(name.replace("_", " ") for name in measured)], rows


def _named(one: str, measured: Mapping[str, Mapping[str, Any]]) -> str:
    prompts = max(found[one]["prompts"] for found in measured.values() if one in found)
    return f"{one.replace('_', ' ')} ({prompts})"


def _share(found: Mapping[str, Any] | None) -> str:
    return f"{found['share']:.0%} [{found['ci_low']:.0%}, {found['ci_high']:.0%}]" if found else ABSENT


def _flips(found: Mapping[str, Any] | None) -> str:
    if not found or not found["known"]:
        return ABSENT
    evaded = f", {found['evaded']} evaded" if found.get("evaded") else ""
    corrected = f", {found['corrected']} corrected" if found.get("corrected") else ""
    return f"{found['flips']} of {found['known']}{evaded}{corrected}"


def ratings_table(ratings: Mapping[str, Any] | None) -> Table:
    """Bradley–Terry strengths over a round robin, strongest first, with intervals and ranks; no rows without ratings."""
    rows = [
        [
            one["model"].replace("_", " "),
            ABSENT if one["rank"] is None else str(one["rank"]),
            _strength(one["strength"]),
            f"{one['win_rate']:.1%}",
        ]
        for one in (ratings or {}).get("models", [])
    ]
    return ["model", "rank", "strength (log-odds)", "win rate"], rows


def _strength(found: Mapping[str, float | None]) -> str:
    if found["ci_low"] is None:
        return f"{found['value']:+.2f}"
    return f"{found['value']:+.2f} [{found['ci_low']:+.2f}, {found['ci_high']:+.2f}]"
