"""The same judges' verdicts as labels in two ways: both orders of some pairs, or one order of twice as many. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.judges.base import uniform
from models.judges.card import preferred
from models.judges.panel import METHODS
from tasks.common.rows import Row

BOTH, SINGLE, SAME_PAIRS = "both orders", "single order", "single order, same pairs"
ORDERS = {BOTH: 2, SINGLE: 1, SAME_PAIRS: 1}  # calls to each judge for a pair


@dataclass(frozen=True)
class Labelled:
    """Pairs as one way of asking labels them: "a", "b", or "tie", which trains nothing; None for an invalid answer."""

    pairs: Sequence[Row]
    labels: Sequence[str | None]
    calls: int

    @property
    def kept(self) -> list[bool]:
        return [label in ("a", "b") for label in self.labels]

    def comparisons(self, samples: Mapping[str, Row], prompts: Mapping[str, Row]) -> list[Row]:
        """What the reward model trains on: the fields of a comparison that `reward` reads."""
        rows = []
        for pair, label in zip(self.pairs, self.labels, strict=True):
            if label not in ("a", "b"):
                continue
            chosen, rejected = (pair["a"], pair["b"]) if label == "a" else (pair["b"], pair["a"])
            texts = {side: [{"role": "assistant", "content": samples[name]["response"]}]
                     for side, name in (("chosen", chosen), ("rejected", rejected))}  # fmt: skip
            rows.append({"id": f"{chosen}>{rejected}", "prompt": prompts[pair["prompt_id"]]["prompt"], **texts,
                         "score_gap": 0.0})  # fmt: skip
        return rows


def label_all(
    pairs: Sequence[Row], battles: Sequence[Row], judges: int, method: str, tie_margin: float, seed: int
) -> dict[str, Labelled]:
    """Each way of asking, from what the compare stage wrote: rows of pairs.jsonl and of battles.jsonl.

    Single order labels all pairs, each in the order that a coin says, and both orders the first half of each prompt's
    pairs: equal calls. Single order on that half costs half the calls; it tells what choosing other pairs does.
    """
    few, many = halves(pairs)
    shown: dict[tuple[str, str], list[Row]] = {}
    for row in battles:
        shown.setdefault((row["first"], row["second"]), []).append(row)

    def one_order(pair: Row) -> str | None:
        a, b = pair["a"], pair["b"]
        if uniform("order", seed, a, b) < 0.5:
            return _label(_preference(shown[a, b], method), tie_margin)
        preference = _preference(shown[b, a], method)
        return _label(None if preference is None else 1 - preference, tie_margin)

    labels = {BOTH: [_label_of(pair) for pair in few], SINGLE: [one_order(pair) for pair in many],
              SAME_PAIRS: [one_order(pair) for pair in few]}  # fmt: skip
    labelled = {BOTH: few, SINGLE: many, SAME_PAIRS: few}
    return {way: Labelled(own, labels[way], len(own) * ORDERS[way] * judges) for way, own in labelled.items()}


def halves(pairs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """(the first half of each prompt's pairs, all of them), in their order; an odd last pair is in neither."""
    by_prompt: dict[str, list[Row]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair["prompt_id"], []).append(pair)
    few, many = [], []
    for own in by_prompt.values():
        half = len(own) // 2
        few += own[:half]
        many += own[: 2 * half]
    return few, many


def _label_of(pair: Row) -> str | None:
    """What the compare stage made of both orders."""
    if pair["outcome"] == "invalid":
        return None
    return preferred(pair["p_a"]) if pair["outcome"] == "kept" else "tie"


def _preference(battles: Sequence[Row], method: str) -> float | None:
    """The panel's preference for the answer shown first."""
    return METHODS[method]([row["p_first"] for row in battles if row["winner"] != "invalid"])


def _label(preference: float | None, tie_margin: float) -> str | None:
    return None if preference is None else preferred(preference, tie_margin)
