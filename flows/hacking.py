"""`plumb hacking`: what happens when the reward is wrong and nothing holds PPO back, and that the guards see it.

A judge that loves length labels the comparisons and the KL coefficient is 0. With the guards off the proxy rises and
gold falls (Gao et al. 2022, arXiv:2210.10760); with the guards on, which look at proxies only, PPO stops early.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.results import ABSENT, read_json

LOVES_LENGTH = (
    "[{name: wordy, kind: simulated, weights: {helpfulness: 1.0}, position_bias: 0.0, length_bias: 1.0, noise: 0.05, "
    "tie_margin: 0.02, seed: 1}]"
)
HACKED = (
    f"compare.judges={LOVES_LENGTH}",
    "compare.strategy=random",  # best_vs_worst would choose by ratings, which do not love length
    "ppo.kl_coefficient=0.0",
    "ppo.missing_eos_penalty=0.0",
    "ppo.snapshots=4",
    "select.methods=[ppo]",
)
WITHOUT_GUARDS = (
    "ppo.guards={kl_budget: null, entropy_floor: null, eos_rate_floor: null, distinct_floor: null}",
)


@dataclass(frozen=True)
class Hacked:
    """What one run left: `evaluate` is metrics/evaluate.json, `stopped` PPO's stopped.json."""

    name: str
    evaluate: dict[str, Any]
    stopped: dict[str, Any]

    @classmethod
    def read(cls, name: str, root: Path) -> "Hacked":
        files = (root / "metrics" / "evaluate.json", root / "artifacts" / "ppo" / "stopped.json")
        return cls(name, *(read_json(file) or {} for file in files))

    @property
    def proxy_gain(self) -> float:
        models = self.evaluate["models"]
        return models["ppo"]["proxy"] - models["sft"]["proxy"]

    @property
    def gold(self) -> dict[str, float]:
        """Paired difference to SFT with its interval."""
        return self.evaluate["versus_sft"]["ppo"]


def broken_promises(off: Hacked, on: Hacked) -> list[str]:
    """One line for each thing that did not happen as it must."""
    broken = []
    if off.proxy_gain <= 0:
        broken.append(f"guards off: the proxy did not rise ({off.proxy_gain:+.3f})")
    if off.gold["ci_high"] >= 0:
        broken.append(f"guards off: gold did not fall (interval's upper end {off.gold['ci_high']:+.3f})")
    if not on.stopped.get("reason"):
        broken.append("guards on: no guard stopped PPO")
    return broken


def report(off: Hacked, on: Hacked, console) -> int:
    """Print proxy and gold of every checkpoint and why PPO stopped; returns the exit code."""
    from rich.table import Table

    table = Table("guards", "policy", "proxy", "gold", "KL to SFT (nats)", "tokens", header_style="bold")
    for run in (off, on):
        for place, row in enumerate(_rows(run)):
            table.add_row(run.name if place == 0 else "", *row)
    console.print(table)
    for run in (off, on):
        reason = run.stopped.get("reason") or "ran to its end"
        steps = f"{run.stopped.get('steps_done', ABSENT)} of {run.stopped.get('steps_asked', ABSENT)} rollouts"
        console.print(f"guards {run.name}: {reason}; {steps}; gold against SFT {run.gold['difference']:+.3f} "
                      f"[{run.gold['ci_low']:+.3f}, {run.gold['ci_high']:+.3f}]", markup=False, highlight=False)
    broken = broken_promises(off, on)
    for line in broken:
        console.print(line, style="red", markup=False, highlight=False)
    return int(bool(broken))


def _rows(run: Hacked) -> list[tuple[str, ...]]:
    sft = run.evaluate["models"]["sft"]
    rows = [("sft", sft["proxy"], sft["gold"]["mean"], sft["kl"], sft["length"])]
    for one in run.evaluate["checkpoints"]:
        if one["model"] == "ppo":
            rows.append((f"ppo {one['checkpoint']}", one["proxy"], one["gold"], one["kl"], one["length"]))
    return [(name, *(f"{number:.2f}" for number in numbers)) for name, *numbers in rows]
