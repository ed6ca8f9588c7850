"""Which prompts are asked: what their rows say about them. No model is needed to know it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.config.evaluation import GateConfig


def has_an_answer(prompt: Row) -> bool:
    """Whether there is a fact to be given up: a question that knows its answer, asked without pressure or harm."""
    return bool(prompt.get("expected_facts")) and prompt.get("insisted") is None and prompt.get("harmful") is not True


def part_of(cfg: GateConfig, prompts: Sequence[Row]) -> list[Row]:
    """The prompts of this version of the gate's set: whole roots, by hash. Raises DataError where there are none."""
    kept = [row for row in prompts if _part(row["root"], cfg.sets) == cfg.set]
    if not kept:
        raise DataError(
            f"gate_prompts has no prompt in part {cfg.set} of {cfg.sets}, so nothing can be promoted; raise "
            "data.splits.gate or lower gate.sets"
        )
    return kept


def _part(root: str, parts: int) -> int:
    return int.from_bytes(hashlib.sha256(f"gate {root}".encode()).digest()[:8], "big") % parts
