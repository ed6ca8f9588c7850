"""Whether a judge that labels the comparisons is gold itself: then training sees what must judge it.

Two judges are one when what answers is one: the oracle, whatever its weights; a model, whatever its name here, its
address, its epoch or its template: other words asked of one model are no other judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

GOLD_FILE, MODEL_FOLDER = "gold.json", "model"  # what the gold stage writes, the second for a reward model
ANSWERED_BY = {"oracle": (), "openai": ("model",), "hf": ("sha256",), "reward_model": ("sha256",)}


def identity(judge: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What answers in a judge's place; None for judges that can be nobody's gold (people, simulated ones)."""
    kind = judge["kind"]
    return (kind, *(judge[name] for name in ANSWERED_BY[kind])) if kind in ANSWERED_BY else None


def same_as(gold: tuple[str, ...], judges: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the judges that are `gold`, an identity."""
    return [judge["name"] for judge in judges if identity(judge) == gold]


def gold_by_params(
    kind: str, judges: Iterable[Mapping[str, Any]], gold_judge: Mapping[str, Any] | None = None
) -> list[str]:
    """The names of the judges of which params alone say that they are gold; `gold_judge` where gold is a judge itself.

    A gold reward model is trained later, so its hash stands nowhere yet: a judge is it where its folder is the one that
    the gold stage writes. Copies elsewhere are found by their hash, once there is one (`tasks.judge`).
    """
    if gold_judge is not None:
        return same_as(identity(gold_judge), judges)
    if kind == "reward_model":
        trained = [judge for judge in judges if judge["kind"] == "reward_model"]
        return [judge["name"] for judge in trained if (Path(judge["path"]).parent / GOLD_FILE).is_file()]
    return same_as((kind,), judges)


def refusal(names: list[str], kind: str) -> str:
    """Why judges that are gold cannot label, in one line."""
    one = f"judge {names[0]!r} of compare.judges and gold (kind {kind}) are the same judge"
    return f"{one}, so gold would not be what training never sees; use another, or set gold.allow_same_judge to true"
