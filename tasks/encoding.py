"""Rows of comparisons as token ids, the same in training, scoring and monitoring."""

from __future__ import annotations

from typing import Any

from models.chat_template import encode_example
from tasks.rows import Row, is_finished


def encode_side(tokenizer: Any, comparison: Row, side: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the `chosen` or `rejected` response, which has an end only where it was not cut."""
    messages = [*comparison["prompt"], comparison[side][-1]]
    return encode_example(tokenizer, messages, comparison.get("tools"), is_finished(comparison, side))
