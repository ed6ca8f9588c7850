"""Held-out comparisons by root: all variants of one question stand on the same side."""

from collections.abc import Sequence

from models.judges.base import uniform
from tasks.common.rows import Row


def split_by_root(rows: Sequence[Row], fraction: float) -> tuple[list[Row], list[Row]]:
    """(train, heldout) by the hash of the root: a root keeps its side when data grows; at least one is held out."""
    drawn = {row["root"]: uniform("heldout", row["root"]) for row in rows}
    bound = max(fraction, min(drawn.values(), default=0.0) + 1e-12)
    train = [row for row in rows if drawn[row["root"]] >= bound]
    return train, [row for row in rows if drawn[row["root"]] < bound]
