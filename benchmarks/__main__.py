"""`python -m benchmarks`: every comparison from one run, as a table; `--write` keeps the numbers beside the code."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.child import ROOT
from benchmarks.material import Material, gather, pulled_params
from benchmarks.measure import Comparison
from benchmarks.report import machine, spread, table, terminal, verdict, versions, write
from benchmarks.training_loops import RUNS, training_loop

RESULTS = Path(__file__).parent / "results" / "foundation.json"
PACKAGES = ("torch", "transformers", "trl", "dvc", "mlflow")
NAMES = (*(f"{stage}-{size}" for stage, size in RUNS), "stage", "best-of-n")


def compare(material: Material, repeats: int, names: Sequence[str], grouped: bool) -> list[Comparison]:
    """The named comparisons, in their order."""
    from benchmarks.best_of_n import best_of_n
    from benchmarks.fixed_cost import fixed_cost

    ways: dict[str, Callable[[], Comparison]] = {
        **{f"{stage}-{size}": partial(training_loop, material, stage, size, repeats, grouped=grouped)
           for stage, size in RUNS},
        "stage": lambda: fixed_cost(material, repeats),
        "best-of-n": lambda: best_of_n(material, repeats),
    }  # fmt: skip
    return [ways[name]() for name in names]


def show(comparisons: Sequence[Comparison], repeats: int, console: Console) -> None:
    """One row per comparison: median (least to most) seconds, and the promised number by the clock and by the CPU."""
    rows = table(repeats, "what (ours / theirs)", "ours, s", "theirs, s", "of medians", "median pair",
                 "median pair, CPU", "promise", "")  # fmt: skip
    for one in comparisons:
        unit = one.promise.unit
        rows.add_row(
            one.name, spread(one.times("ours"), 2), spread(one.times("theirs"), 2), f"{one.of_medians():.3f} {unit}",
            f"{spread(one.pairs(), 3)} {unit}", f"{spread(one.pairs('cpu'), 3)} {unit}", one.promise.text,
            verdict(one.kept),
        )  # fmt: skip
    console.print(rows)
    for one in comparisons:
        console.print(f"{one.name}: {one.note}", markup=False, highlight=False)
    console.print("Kept or missed is judged on the median pair by the clock.", markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whether promises are kept or not; 1 when best-of-n's two ways disagree about a winner."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which to run (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--base", type=Path, help="a model directory instead of the one in params.yaml")
    parser.add_argument("--grouped", action="store_true", help="TRL's batches of rows of similar length, as ours")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/foundation.json")
    options = parser.parse_args(arguments)
    console = terminal()
    os.environ.setdefault("TQDM_DISABLE", "1")
    pulled_params()
    with tempfile.TemporaryDirectory() as folder:
        material = gather(ROOT, Path(folder), options.base)
        try:
            comparisons = compare(material, options.repeats, options.names or NAMES, options.grouped)
        except AssertionError as error:
            console.print(str(error), style="red", markup=False)
            return 1
    show(comparisons, options.repeats, console)
    if options.write:
        write(RESULTS, {"machine": machine(), "versions": versions(PACKAGES), "repeats": options.repeats,
                        "comparisons": [one.document() for one in comparisons]})  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
