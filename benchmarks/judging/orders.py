"""`python -m benchmarks.judging.orders`: both orders or twice as many pairs? Reward models at an equal number of calls.

For each seed the simulated pool of params.yaml judges with coins of its own, the pairs are drawn anew, and a reward
model is trained from the same SFT on what each way of asking kept; gold judges the ranking of answers to prompts that
train nothing. `--write` keeps the numbers, `--add` beside those of other seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from statistics import fmean as mean
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.child import ROOT
from benchmarks.judging.accuracy import over_seeds
from benchmarks.judging.labelling import BOTH, ORDERS, SAME_PAIRS, SINGLE
from benchmarks.report import machine, terminal, write

RESULTS = ROOT / "benchmarks" / "results" / "judge-orders.json"
# Pairs per prompt in both orders. A prompt has about ten different answers, so twice as many are there to be had.
STRATEGIES = {"best_vs_worst": 2, "random": 3}
CONFIDENCE = 0.95
Trials = Sequence[dict[str, Any]]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging.orders", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/judge-orders.json")
    parser.add_argument("--add", action="store_true", help="keep the trials of other seeds that the file has")
    return parser.parse_args(arguments)


def summary(trials: Trials) -> dict[str, Any]:
    """Means over seeds by strategy, and both orders minus the others with Student's interval over seeds."""
    by_strategy: dict[str, Any] = {}
    for strategy in dict.fromkeys(trial["strategy"] for trial in trials):
        own = [trial for trial in trials if trial["strategy"] == strategy]
        by_strategy[strategy] = {
            "seeds": [trial["seed"] for trial in own],
            "ways": {way: _means([trial["ways"][way] for trial in own]) for way in ORDERS},
            "both_orders_minus": {
                other: over_seeds([trial["both_orders_minus"][other]["value"] for trial in own], CONFIDENCE)
                for other in (SINGLE, SAME_PAIRS)
            },
        }  # fmt: skip
    return by_strategy


def _means(ways: Trials) -> dict[str, float]:
    rows = [
        {**{name: way[name] for name in ("pairs", "calls", "kept")},
         **{f"agreement_{name}": way["agreement_with_oracle"][name]["value"] for name in ("all", "kept")},
         "gold_accuracy": way["gold_accuracy"]["value"]}
        for way in ways
    ]  # fmt: skip
    return {name: mean(row[name] for row in rows) for name in rows[0]}


def show(by_strategy: dict[str, Any], console: Console) -> None:
    """A table per strategy, and whether both orders won."""
    for strategy, results in by_strategy.items():
        table = Table("labels from", "pairs", "calls", "kept", "agree with the oracle: all pairs", "kept pairs",
                      "reward model's gold accuracy", header_style="bold",
                      title=f"pairs by {strategy}, means of {len(results['seeds'])} seeds")  # fmt: skip
        for way, means in results["ways"].items():
            table.add_row(way, *(f"{means[name]:.0f}" for name in ("pairs", "calls", "kept")),
                          *(f"{means[name]:.3f}" for name in ("agreement_all", "agreement_kept", "gold_accuracy")))
        console.print(table)
        for other, value in results["both_orders_minus"].items():
            console.print(f"gold accuracy, {BOTH} minus {other}: {interval_text(value)}", highlight=False)
        console.print(f"{BOTH} against {SINGLE}, equal calls: {verdict(results['both_orders_minus'][SINGLE])}")


def interval_text(value: dict[str, Any]) -> str:
    if value["ci_low"] is None:
        return f"{value['value']:+.4f} on one seed, which has no interval"
    return f"{value['value']:+.4f} [{value['ci_low']:+.4f}, {value['ci_high']:+.4f}] over {value['n']} seeds"


def verdict(value: dict[str, Any]) -> str:
    known = value["ci_low"] is not None
    if known and value["ci_low"] > 0:
        return "[green]higher gold accuracy[/]"
    if known and value["ci_high"] < 0:
        return "[red]lower gold accuracy[/]"
    return "[yellow]no difference that the seeds can tell[/]"


def document(trials: Trials) -> dict[str, Any]:
    """The numbers with what they were measured on."""
    return {"machine": machine(), "pairs_per_prompt": STRATEGIES, "summary": summary(trials), "trials": list(trials)}


def merged(earlier: Trials, later: Trials) -> list[dict[str, Any]]:
    """All trials by strategy and seed; of two of the same the later."""
    known = {(trial["strategy"], trial["seed"]): trial for trial in (*earlier, *later)}
    return [known[key] for key in sorted(known)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whoever wins."""
    chosen = options(arguments)
    os.environ.setdefault("TQDM_DISABLE", "1")
    from benchmarks.judging.trial import make_world, run_trial

    world = make_world()
    trials = [run_trial(world, strategy, STRATEGIES[strategy], seed)
              for seed in chosen.seeds for strategy in chosen.strategies]  # fmt: skip
    earlier = json.loads(RESULTS.read_text(encoding="utf-8"))["trials"] if chosen.add and RESULTS.exists() else []
    trials = merged(earlier, trials)
    show(summary(trials), terminal(160))
    if chosen.write:
        write(RESULTS, document(trials))
    return 0


if __name__ == "__main__":
    sys.exit(main())
