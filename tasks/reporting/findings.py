"""What the numbers say about the candidate: what got worse than SFT, and where the two disagree most."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.common.rows import Row

DIVERSITY_FLOOR = 0.5  # of SFT's distinct-2
LENGTH_BOUND = 1.5  # times SFT's mean length


def first_samples(scores: Sequence[Row], model: str, checkpoint: str) -> dict[str, Row]:
    """Prompt id -> the first sample's score row of one model's checkpoint."""
    kept = [row for row in scores if row["model"] == model and row["checkpoint"] == checkpoint]
    return {row["prompt_id"]: row for row in sorted(kept, key=lambda row: row["index"], reverse=True)}


def what_got_worse(
    axes: Mapping[str, Mapping[str, float]], candidate: Mapping[str, Any], sft: Mapping[str, Any], confidence: float
) -> list[str]:
    """One sentence per axis that is lower than SFT's beyond chance, and per warning sign in the plain numbers.

    `axes`: paired differences to SFT with their intervals, as evaluate.json has them.
    """
    lines = []
    for axis, interval in axes.items():
        change, low, high = (interval[name] for name in ("difference", "ci_low", "ci_high"))
        if high < 0:
            lines.append(f"{axis} fell by {-change:.3f} ({confidence:.0%} interval {-high:.3f} to {-low:.3f})")
    over_refusal = [scores.get("over_refusal_rate") for scores in (candidate, sft)]
    if None not in over_refusal and over_refusal[0] > over_refusal[1]:
        lines.append(f"harmless look-alikes refused: {over_refusal[0]:.1%}, SFT {over_refusal[1]:.1%}")
    if candidate["distinct_2"] < DIVERSITY_FLOOR * sft["distinct_2"]:
        ours, theirs = candidate["distinct_2"], sft["distinct_2"]
        lines.append(f"distinct-2 fell to {ours:.3f} from {theirs:.3f}: less diverse text")
    if candidate["length"] > LENGTH_BOUND * sft["length"]:
        lines.append(f"answers grew to {candidate['length']:.0f} tokens from {sft['length']:.0f}")
    return lines


def disagreements(candidate: Mapping[str, Row], reference: Mapping[str, Row], count: int) -> list[dict[str, Any]]:
    """Where gold differs most: half of `count` where the candidate gained, half where it lost, gains first."""
    shared = sorted(set(candidate) & set(reference))
    by_difference = sorted(shared, key=lambda one: (reference[one]["gold"] - candidate[one]["gold"], one))
    gained = [one for one in by_difference[: (count + 1) // 2] if candidate[one]["gold"] > reference[one]["gold"]]
    lost = [one for one in reversed(by_difference) if candidate[one]["gold"] < reference[one]["gold"]][: count // 2]
    return [
        {
            "prompt": reference[prompt_id]["prompt"],
            "category": reference[prompt_id]["category"],
            "answers": {"sft": reference[prompt_id]["text"], "candidate": candidate[prompt_id]["text"]},
            "gold": {"sft": reference[prompt_id]["gold"], "candidate": candidate[prompt_id]["gold"]},
        }
        for prompt_id in (*gained, *lost)
    ]
