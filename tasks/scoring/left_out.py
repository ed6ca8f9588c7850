"""Prompts to which an answer was not rated by gold: left out for all models alike, as many as params allow."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from tasks.common.errors import DataError
from tasks.common.rows import Row

KEY, SECOND_TURNS = "left_out", "second_turns_left_out"  # in documents, where there are some


def unrated(rows: Iterable[Row]) -> set[str]:
    """The prompts of score rows that gold gave no number."""
    return {row["prompt_id"] for row in rows if math.isnan(row["gold"])}


def left_out(
    scorer: Any, missing: Mapping[str, Collection[str]], prompts: int, key: str = KEY
) -> dict[str, Any]:
    """What a document says of them: {} where none is left out. missing: whose answers -> ids of their prompts.

    Raises DataError where they are more than the scorer allows of so many prompts; it asks for these again then.
    """
    ids = sorted(set().union(*missing.values()))
    if not ids:
        return {}
    if len(ids) > scorer.max_left_out * prompts:
        scorer.forget_unrated()
        raise DataError(
            f"gold judge {scorer.judge.name!r} gave no usable rating of answers to {len(ids)} of {prompts} prompts "
            f"(first {ids[0]!r}), more than gold.max_left_out={scorer.max_left_out:g} allows: run again, which asks "
            "for these alone, as all other ratings are kept; or correct gold.judge, or raise gold.max_left_out"
        )
    by = {name: len(own) for name, own in missing.items() if own}
    return {key: {"prompts": len(ids), "of": prompts, "answers_of": by}}


def without(rows: Sequence[Row], ids: Collection[str]) -> list[Row]:
    return [row for row in rows if row["prompt_id"] not in ids]


def sentence(document: Mapping[str, Any]) -> str:
    """For the report; "" where none is left out."""
    text = ""
    for key, what in ((KEY, "answers to"), (SECOND_TURNS, "what was said in a second turn about")):
        if counts := document.get(key):
            by = ", ".join(f"{name} {count}" for name, count in counts["answers_of"].items())
            missing = f"{what} {counts['prompts']} of {counts['of']} prompts ({by})"
            text += f" Gold gave no usable rating of {missing}: they are left out for all models."
    return text
