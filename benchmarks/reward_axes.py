"""What a reward model knows beside what DPO learns of the same pairs: `python -m benchmarks.reward_axes RUN...`.

PPO can gain no more than its reward model sees. For each axis of hearth's oracle: on held-out comparisons whose answers
differ in it, how often the reward model prefers the better one, and how often DPO's implicit reward does, which is log
π_dpo − log π_sft of the response (Eq. 5, arXiv:2305.18290). RUN is a project's folder after `plumb align`; several
are pooled. `make demo-seeds` says where its runs are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from models.chat.template import load_tokenizer
from models.hearth import oracle
from models.lm.loading import load_policy
from models.lm.logprobs import response_logprobs
from models.reward.model import load_reward_model
from models.reward.scoring import score
from tasks.common.rows import Row, read_jsonl
from tasks.training.sides import encode_side

ROWS_PER_BATCH = 64
SAME = 1e-6
KINDS = {
    **{axis: (axis, None) for axis in oracle.AXES},
    "helpfulness, tone equal": ("helpfulness", "friendliness"),
    "friendliness, help equal": ("friendliness", "helpfulness"),
}


class Judgement(NamedTuple):
    """One held-out pair: gold's differences by axis, and both rewards' (chosen minus rejected)."""

    gold: Mapping[str, float]
    reward_model: float
    implicit: float


def judgements(run: Path) -> list[Judgement]:
    """Every held-out comparison of a finished run. Raises FileNotFoundError for a folder without one."""
    artifacts = run / "artifacts"
    rows = read_jsonl(artifacts / "compare" / "heldout.jsonl")
    prompts = {row["id"]: row for row in read_jsonl(artifacts / "data" / "compare_prompts.jsonl")}
    chosen, rejected = _rewards(artifacts, rows, "chosen"), _rewards(artifacts, rows, "rejected")
    differences = (chosen - rejected).tolist()
    return [
        Judgement(_gold(prompts[row["id"].rpartition("#")[0]], row), *pair)
        for row, pair in zip(rows, differences, strict=True)
    ]


def _gold(prompt: Row, row: Row) -> dict[str, float]:
    chosen, rejected = (oracle.score(prompt, row[side][-1]["content"]) for side in ("chosen", "rejected"))
    return {axis: chosen[axis] - rejected[axis] for axis in oracle.AXES}


@torch.no_grad()
def _rewards(artifacts: Path, rows: Sequence[Row], side: str) -> torch.Tensor:
    """(rows, 2): the reward model's score, and log π_dpo − log π_sft in nats."""
    tokenizer = load_tokenizer(artifacts / "sft")
    prompts, answers = zip(*(encode_side(tokenizer, row, side) for row in rows))
    whole = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    scores = score(load_reward_model(artifacts / "reward"), whole, ROWS_PER_BATCH)
    sums = [
        response_logprobs(load_policy(artifacts / name), prompts, answers, 1.0, rows_per_batch=ROWS_PER_BATCH)
        .logprobs.sum(1)
        for name in ("dpo", "sft")
    ]
    return torch.stack([scores, sums[0] - sums[1]], dim=1)


def shares(pairs: Sequence[Judgement]) -> Iterator[tuple[str, int, float, float]]:
    """For each kind of pair: its name, how many there are, and how often each reward is right."""
    for name, (axis, equal) in KINDS.items():
        kept = [one for one in pairs if abs(one.gold[axis]) > SAME and (equal is None or abs(one.gold[equal]) <= SAME)]
        if kept:
            right = [[(reward > 0) == (one.gold[axis] > 0) for reward in one[1:]] for one in kept]
            yield name, len(kept), *(sum(column) / len(kept) for column in zip(*right, strict=True))


def main(runs: Sequence[str]) -> int:
    if not runs:
        print("usage: python -m benchmarks.reward_axes RUN...    (folders in which plumb align has finished)")
        return 2
    torch.set_num_threads(1)
    table = Table("held-out pairs that differ in", "pairs", "reward model right", "DPO's implicit reward right")
    for name, count, *right in shares([one for run in runs for one in judgements(Path(run))]):
        table.add_row(name, str(count), *(f"{share:.3f}" for share in right))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
