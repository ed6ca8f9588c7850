"""What the comparison showed, as tables and as a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Comparison
from benchmarks.ppo.floors import Machine, utilisation
from benchmarks.ppo.gates import OVERLAP_DEVIATIONS, CurveGate, LossGate
from benchmarks.ppo.race import GOAL, TOKENS_TIMED, Training
from benchmarks.report import SIDES, machine, spread, table, verdict, versions

PACKAGES = ("torch", "transformers", "accelerate", "rich")
UTILISATION_GOAL = 0.40


@dataclass
class Findings:
    """Everything of one run; what was not asked for is empty. `stages`: FLOPs and seconds of SFT and DPO."""

    repeats: int
    threads: int
    device: str
    device_name: str
    trl: str
    machine: Machine
    losses: LossGate | None = None
    curves: CurveGate | None = None
    trainings: list[Training] = field(default_factory=list)
    samplers: list[Comparison] = field(default_factory=list)
    stages: Mapping[str, dict[str, float]] = field(default_factory=dict)

    def gates(self) -> dict[str, LossGate | CurveGate]:
        """Those that were looked at."""
        return {name: gate for name, gate in (("losses", self.losses), ("curves", self.curves)) if gate is not None}

    def document(self) -> dict[str, Any]:
        """The numbers with what they were measured on; nothing that names a place on this machine."""
        return {
            "machine": {
                **machine(), "threads": self.threads, "device": self.device, "device_name": self.device_name,
                "peak_gigaflops": round(self.machine.flops / 1e9, 2),
                "peak_gigabytes_per_second": round(self.machine.bandwidth / 1e9, 2),
            },
            "versions": versions(PACKAGES) | {"trl": self.trl},
            "repeats": self.repeats,
            "gates": {name: gate.document() for name, gate in self.gates().items()},
            "ppo": [training.document(self.machine) for training in self.trainings],
            "sampler": [comparison.document() for comparison in self.samplers],
            "utilisation": {
                stage: {**run, "share_of_peak": utilisation(run["flops"], run["seconds"], self.machine)}
                for stage, run in self.stages.items()
            },
        }  # fmt: skip


def show_gates(findings: Findings, console: Console) -> None:
    """What was seen before the clock was started."""
    if findings.losses is not None:
        word = "passed" if findings.losses.passed else "FAILED"
        console.print(f"losses on identical rollouts: {word}, the worst difference is {findings.losses.worst:.1e}")
    if findings.curves is not None:
        word = "passed" if findings.curves.passed else "FAILED"
        curve = ", ".join(f"{ours:.2f}/{theirs:.2f}" for ours, theirs in findings.curves.means())
        console.print(f"reward by rollout, mean of {len(findings.curves.ours)} seeds, ours/theirs: {curve}")
        console.print(
            f"reward curves: {word}; over the second half ours - theirs = {findings.curves.difference:+.3f}, allowed"
            f" {OVERLAP_DEVIATIONS:g} x {findings.curves.spread:.3f} (deviation over seeds)"
        )


def show(findings: Findings, console: Console) -> None:
    """Ratios with their spread, memory, and each phase beside its limit."""
    console.print(_races(findings))
    for training in findings.trainings:
        ours, theirs = training.lengths
        agree = "agree" if training.lengths_agree else "DIFFER: compare the episodes per second with care"
        console.print(f"{training.comparison.name}: {training.comparison.note}; response lengths {agree}"
                      f" ({ours:.1f} / {theirs:.1f} tokens on average)", markup=False, highlight=False)
    for comparison in findings.samplers:
        console.print(f"{comparison.name}: {comparison.note}", markup=False, highlight=False)
    for training in findings.trainings:
        console.print(_phases(training, findings.machine))
    for stage, run in findings.stages.items():
        share = utilisation(run["flops"], run["seconds"], findings.machine)
        console.print(f"{stage}: {verdict(share >= UTILISATION_GOAL)} model-FLOPs utilisation {share:.3f}, goal"
                      f" {UTILISATION_GOAL}; peak memory {run['peak_mib']:.0f} MiB")


def _races(findings: Findings) -> Table:
    races = table(findings.repeats, "what (ours / theirs)", "ours", "theirs", "median pair", "median pair, CPU",
                  "promise", "", "peak memory, MiB (after imports)", "")  # fmt: skip
    for training in findings.trainings:
        rates = [f"{spread(training.episodes_per_second(side), 2)} episodes/s" for side in SIDES]
        memory = " / ".join(_memory(training, side) for side in SIDES)
        ratio = _ratio(training.comparison)
        races.add_row(training.comparison.name, *rates, *ratio, memory, verdict(training.less_memory))
    for comparison in findings.samplers:
        rates = [f"{spread([TOKENS_TIMED / s for s in comparison.times(side)], 0)} tokens/s" for side in SIDES]
        races.add_row(comparison.name, *rates, *_ratio(comparison), "", "")
    return races


def _memory(training: Training, side: str) -> str:
    return f"{median(training.memory(side)):.0f} ({median(training.memory(side, 'baseline_mib')):.0f})"


def _ratio(comparison: Comparison) -> tuple[str, str, str, str]:
    unit = comparison.promise.unit
    return (f"{spread(comparison.pairs(), 3)} {unit}", f"{spread(comparison.pairs('cpu'), 3)} {unit}",
            f"{comparison.promise.text}, goal {GOAL:g}x", verdict(comparison.kept))


def _phases(training: Training, machine: Machine) -> Table:
    phases = Table("phase", "s", "GFLOP", "GB", "floor, s", "limited by", "share of the limit", header_style="bold",
                  title=f"our phases, {training.work.size}: the machine reaches {machine.flops / 1e9:.0f} GFLOP/s and"
                        f" {machine.bandwidth / 1e9:.1f} GB/s")  # fmt: skip
    for share in training.shares(machine):
        work = share.work
        phases.add_row(share.phase, f"{share.seconds:.2f}", f"{work.flops / 1e9:.1f}", f"{work.bytes / 1e9:.2f}",
                      f"{share.floor:.3f}", work.limited_by(machine), f"{share.of_limit:.1%}")  # fmt: skip
    return phases
