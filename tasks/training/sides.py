"""The two responses of a comparison as token ids, for whoever trains on them or scores them."""

from __future__ import annotations

from typing import Any

from models.chat.template import encode_example
from tasks.common.rows import Row

SIDES = ("chosen", "rejected")


def is_finished(comparison: Row, side: str) -> bool:
    """Whether the `chosen` or `rejected` response ends its turn, or was cut at the longest answer.

    Nothing appends an end to a response that was cut: it would be learned as one, and scored as one. What people wrote
    says nothing, and is whole.
    """
    return comparison.get(f"{side}_finished", True)


def encode_side(tokenizer: Any, comparison: Row, side: str) -> tuple[list[int], list[int]]:
    """(ids of the prompt, ids of the `chosen` or `rejected` response), with an end where the response has one."""
    turns = [*comparison["prompt"], comparison[side][-1]]
    return encode_example(tokenizer, turns, comparison.get("tools"), ended=is_finished(comparison, side))
