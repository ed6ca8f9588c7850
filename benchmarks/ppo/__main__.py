"""`python -m benchmarks.ppo`: gates, then PPO and its sampler beside TRL 1.12.0; `--write` keeps the numbers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.child import ROOT, Peer
from benchmarks.material import pulled_params
from benchmarks.ppo import tasks
from benchmarks.ppo.floors import Machine
from benchmarks.ppo.gates import CurveGate, LossGate
from benchmarks.ppo.race import Child, sampling, training
from benchmarks.ppo.report import Findings, show, show_gates
from benchmarks.ppo.workload import SIZES, Workload, workload
from benchmarks.report import SIDES, terminal, write
from tasks.runner.params import read_params

RESULTS = ROOT / "benchmarks" / "results"
PLACE = ROOT / ".bench"
SAMPLER_PROMPTS = 512
SEEDS = (0, 1, 2)
# A learning rate that shows in few rollouts, and a head whose scores of finished answers have a deviation of about 1.
# Answers get time to end: the head's score of an unfinished one lies so far out that a few would drown the curve.
CURVES = {"steps": 6, "batch_size": 64, "minibatch_size": 32, "learning_rate": 3e-4, "reward_scale": 30.0,
          "max_new_tokens": 128}
TRL = "1.12.0"
QUICK = {"steps": 2, "batch_size": 16, "minibatch_size": 8}


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line. On a GPU, where nothing else is asked for, the 1 B model is the size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ppo", description=__doc__)
    parser.add_argument("--size", nargs="+", choices=SIZES, help="default: hearth 30m; 1b on a GPU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch, on both sides")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--trl", type=Path, default=PLACE / f"trl-{TRL}", help=f"folder with TRL {TRL}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and no reward curves: try whether it runs")
    parser.add_argument("--write", action="store_true", help="write results/ppo.json (ppo-cuda.json on a GPU)")
    chosen = parser.parse_args(arguments)
    chosen.size = chosen.size or (["1b"] if chosen.device.startswith("cuda") else ["hearth", "30m"])
    return chosen


def data() -> tuple[Path, Path, Path]:
    """Hearth's base, prompts and demonstrations."""
    params = pulled_params()
    folder, base = ROOT / params["data"]["path"], ROOT / params["model"]["path"]
    return base, folder / params["data"]["prompts"], folder / params["data"]["demonstrations"]


def make_workload(size: str, chosen: argparse.Namespace, child: Child, **changes: Any) -> Workload:
    """The workload of a size; the 30 M model is made the first time and kept under .bench."""
    base, prompts, demonstrations = data()
    ppo = read_params(ROOT / "params.yaml")["ppo"]
    machine = {"threads": chosen.threads, "device": chosen.device, "dtype": chosen.dtype}
    work = workload(size, base, prompts, ppo, **machine, **(QUICK if chosen.quick else {}), **changes)
    if size != "30m":
        return work
    work = replace(work, base=str(PLACE / "llama-30m"))
    if not (PLACE / "llama-30m" / "tokenizer.json").exists():
        child("preparation.prepare", replace(work, prompts=json.dumps([str(base), str(demonstrations)]), seed=0))
    return work


def gates(chosen: argparse.Namespace, child: Child) -> tuple[LossGate, CurveGate | None]:
    """Losses, and unless in a hurry reward curves, both of hearth's base in float32."""
    base, prompts, _ = data()
    work = workload("hearth", base, prompts, read_params(ROOT / "params.yaml")["ppo"], threads=chosen.threads,
                    device=chosen.device)  # fmt: skip
    losses = LossGate({name: tuple(pair) for name, pair in child("losses.compare", work).items()})
    if chosen.quick:
        return losses, None
    works = [replace(work, **CURVES, seed=seed) for seed in SEEDS]
    return losses, CurveGate(*([child(f"{side}.train", work)["scores"] for work in works] for side in SIDES))


def measure(chosen: argparse.Namespace, child: Child, console: Console) -> Findings:
    """Everything, in order. Raises AssertionError when a gate fails or the sides did different work."""
    works = [make_workload(size, chosen, child) for size in chosen.size]
    peaks = child("preparation.peaks", works[0])
    name = peaks.pop("device_name")
    findings = Findings(chosen.repeats, chosen.threads, chosen.device, name, TRL, Machine(**peaks))
    findings.losses, findings.curves = gates(chosen, child)
    show_gates(findings, console)
    assert findings.losses.passed, "the losses differ; nothing was timed"
    assert findings.curves is None or findings.curves.passed, "the reward curves do not overlap; nothing was timed"
    for work in works:
        findings.trainings.append(training(work, chosen.repeats, child))
    size = {"batch_size": 32 if chosen.quick else SAMPLER_PROMPTS, "minibatch_size": 32, "steps": 1}
    findings.samplers.append(sampling(replace(works[0], **size), chosen.repeats, child))
    if chosen.device.startswith("cuda"):
        findings.stages = {stage: child("utilisation.measure", works[0], stage=stage) for stage in ("sft", "dpo")}
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whether promises are kept or not; 1 when a gate fails or the sides did different work."""
    chosen = options(arguments)
    console, peer = terminal(), Peer(chosen.trl.resolve(), TRL, "PPOTrainer", "ppo", "bench-ppo")
    try:
        findings = measure(chosen, partial(tasks.run, peer=peer), console)
    except (AssertionError, RuntimeError, ValueError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    show(findings, console)
    if chosen.write:
        name = "ppo-cuda.json" if chosen.device.startswith("cuda") else "ppo.json"
        write(RESULTS / name, findings.document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
