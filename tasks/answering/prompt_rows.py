"""Which prompts are asked: what their rows say about them. No model is needed to know it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tasks.common.errors import DataError
from tasks.common.rows import Row


def has_an_answer(prompt: Row) -> bool:
    """Whether there is a fact to be given up: a question that knows its answer, asked without pressure or harm."""
    return bool(prompt.get("expected_facts")) and prompt.get("insisted") is None and prompt.get("harmful") is not True


def part_of(prompts: Sequence[Row], part: int, parts: int) -> list[Row]:
    """The prompts of one version of the gate's set: whole roots, by hash. Raises DataError where there are none."""
    kept = [row for row in prompts if _part(row["root"], parts) == part]
    if not kept:
        raise DataError(
            f"gate_prompts has no prompt in part {part} of {parts}, so nothing can be promoted; raise "
            "data.splits.gate or lower gate.sets"
        )
    return kept


def _part(root: str, parts: int) -> int:
    return int.from_bytes(hashlib.sha256(f"gate {root}".encode()).digest()[:8], "big") % parts
