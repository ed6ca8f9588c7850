"""One trial: the pool of params.yaml judges with coins of its own; a reward model is trained on each way's labels."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import ROOT
from benchmarks.judging.accuracy import accuracy, agreement, difference, ranked_pairs
from benchmarks.judging.labelling import BOTH, SAME_PAIRS, SINGLE, Labelled, label_all
from benchmarks.material import config, pulled_params
from models.judges import Scorer
from models.judges.oracle import OracleScorer
from models.judges.reward_model import RewardModelScorer
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.compare import compare, prompts_by_id
from tasks.generate import generate
from tasks.judge import reference_rows
from tasks.judging.pairing import samples_by_prompt
from tasks.training.reward_model import train_reward_model

ARTIFACTS = ROOT / "artifacts"
JUDGE_SEEDS_APART = 1000
HELDOUT_SAMPLES = 8


@dataclass(frozen=True)
class Heldout:
    """Answers to prompts that train nothing: rows and texts side by side, prompt by prompt, and gold's scores.

    `starts`: the place of each prompt's first answer.
    """

    rows: Sequence[Row]
    texts: Sequence[str]
    gold: np.ndarray
    starts: Sequence[int]

    @property
    def roots(self) -> list[str]:
        """Of each prompt."""
        return [self.rows[start]["root"] for start in self.starts]

    def counts(self, proxy: np.ndarray) -> np.ndarray:
        """(prompts, 2): pairs ranked as by gold, and pairs."""
        parts = zip(np.split(self.gold, self.starts[1:]), np.split(proxy, self.starts[1:]), strict=True)
        return np.array([ranked_pairs(gold, own) for gold, own in parts])


@dataclass(frozen=True)
class World:
    """What all trials share. `params`: the whole params.yaml; `model`, `sft`: the base and the policy that answered."""

    params: dict[str, Any]
    model: Path
    sft: Path
    samples: Sequence[Row]
    prompts: Sequence[Row]
    heldout: Heldout
    scorer: Scorer
    confidence: float = 0.95

    def config(self, stage: str, seed: int, **changes: Any) -> Any:
        """The stage's config in params.yaml, under another seed and with `changes` to its own section."""
        return config(self.params, stage, changes, seed=seed)


def make_world() -> World:
    """The graph up to `generate`, as DVC has it or makes it, and answers to the select prompts, which train nothing."""
    params = pulled_params()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", "generate"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=True)
    model, sft = ROOT / params["model"]["path"], ARTIFACTS / "sft"
    settings = config(params, "generate", {"samples_per_prompt": HELDOUT_SAMPLES})
    with tempfile.TemporaryDirectory() as folder:
        file = ARTIFACTS / "data" / "select_prompts.jsonl"
        generate(settings, model, sft, file, Path(folder))
        answers = read_jsonl(Path(folder) / "samples.jsonl")
    scorer = OracleScorer(params["gold"]["weights"])
    return World(
        params, model, sft, read_jsonl(ARTIFACTS / "generate" / "samples.jsonl"),
        read_jsonl(ARTIFACTS / "data" / "compare_prompts.jsonl"), heldout_answers(answers, read_jsonl(file), scorer),
        scorer,
    )  # fmt: skip


def heldout_answers(answers: Sequence[Row], prompts: Sequence[Row], scorer: Scorer) -> Heldout:
    """Each prompt's different answers, with gold's scores."""
    groups, _ = samples_by_prompt(answers)
    by_id = prompts_by_id(prompts)
    rows = [by_id[prompt_id] for prompt_id, group in groups.items() for _ in group]
    texts = [sample["response"] for group in groups.values() for sample in group]
    starts = list(accumulate(map(len, groups.values()), initial=0))[:-1]
    return Heldout(rows, texts, np.array([axes["gold"] for axes in scorer.score(rows, texts)]), starts)


def run_trial(world: World, strategy: str, pairs_per_prompt: int, seed: int) -> dict[str, Any]:
    """`pairs_per_prompt` in both orders, twice as many in one; every way's labels, its reward model and how they do."""
    ways = _judged(world, strategy, 2 * pairs_per_prompt, seed)
    samples, prompts = {row["id"]: row for row in world.samples}, prompts_by_id(world.prompts)
    results, counts = {}, {}
    for way, labelled in ways.items():
        rows = labelled.comparisons(samples, prompts)
        references = reference_rows(labelled.pairs, samples, prompts, world.scorer)
        counts[way] = world.heldout.counts(_proxy(world, rows, seed))
        results[way] = {
            "pairs": len(labelled.pairs), "calls": labelled.calls, "kept": sum(labelled.kept),
            "agreement_with_oracle": agreement(labelled, [row["gold"] for row in references], world.confidence),
            "gold_accuracy": accuracy(counts[way], world.heldout.roots, world.confidence),
        }  # fmt: skip
    differences = {other: difference(counts[BOTH], counts[other], world.heldout.roots, world.confidence)
                   for other in (SINGLE, SAME_PAIRS)}  # fmt: skip
    return {"strategy": strategy, "seed": seed, "ways": results, "both_orders_minus": differences}


def _judged(world: World, strategy: str, pairs_per_prompt: int, seed: int) -> dict[str, Labelled]:
    """The compare stage's verdicts, in both orders, as each way of asking would have had them."""
    pool = [{**judge, "seed": judge["seed"] + JUDGE_SEEDS_APART * seed} for judge in world.params["compare"]["judges"]]
    cfg = world.config("compare", seed, strategy=strategy, pairs_per_prompt=pairs_per_prompt, judges=pool)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(folder / "samples.jsonl", world.samples)
        write_jsonl(folder / "prompts.jsonl", world.prompts)
        compare(cfg, folder, folder / "prompts.jsonl", folder / "prompts.jsonl", folder / "out")
        pairs, battles = (read_jsonl(folder / "out" / f"{file}.jsonl") for file in ("pairs", "battles"))
    return label_all(pairs, battles, len(pool), cfg.panel, cfg.tie_margin, seed)


def _proxy(world: World, rows: Sequence[Row], seed: int) -> np.ndarray:
    """Scores of the held-out answers by a reward model trained on `rows`, (answers,)."""
    cfg = world.config("reward", seed)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer, _ = train_reward_model(
            cfg, cfg.runtime, world.model, world.sft, rows, [], Path(folder) / "out", Path(folder) / "checkpoints",
            stage="reward",
        )  # fmt: skip
    scorer = RewardModelScorer(model, tokenizer, world.params["gold"]["rows_per_batch"])
    return np.asarray(scorer.values(world.heldout.rows, world.heldout.texts))
