"""`python -m benchmarks`: every comparison from one run, as a table; `--write` keeps the numbers beside the code."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.material import Material, gather
from benchmarks.measure import Comparison

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "foundation.json"
PACKAGES = ("torch", "transformers", "trl", "dvc", "mlflow")
SFT_ROWS, DPO_ROWS = 144, 96


def comparisons(material: Material, repeats: int, names: Sequence[str]) -> list[Comparison]:
    """The named comparisons, in their order."""
    from benchmarks.best_of_n import best_of_n
    from benchmarks.fixed_cost import fixed_cost
    from benchmarks.training_loops import dpo_loop, sft_loop

    ways: dict[str, Callable[[], Comparison]] = {
        "sft": lambda: sft_loop(material, SFT_ROWS, repeats),
        "dpo": lambda: dpo_loop(material, DPO_ROWS, repeats),
        "stage": lambda: fixed_cost(material, repeats),
        "best-of-n": lambda: best_of_n(material, repeats),
    }
    return [ways[name]() for name in names]


def show(found: Sequence[Comparison], repeats: int, console: Console) -> None:
    """One row per comparison: median (least to most) seconds, and the promised number by the clock and by the CPU."""
    table = Table(
        "what (ours / theirs)", "ours, s", "theirs, s", "of medians", "median pair", "median pair, CPU", "promise", "",
        header_style="bold", title=f"{repeats} repeats, in turn: median (least to most)", show_lines=True,
    )  # fmt: skip
    for comparison in found:
        unit = comparison.promise.unit
        table.add_row(
            comparison.name,
            _spread(comparison.times("ours"), 2), _spread(comparison.times("theirs"), 2),
            f"{comparison.of_medians():.3f} {unit}",
            f"{_spread(comparison.pairs(), 3)} {unit}",
            f"{_spread(comparison.pairs('cpu'), 3)} {unit}",
            comparison.promise.text,
            "[green]kept[/]" if comparison.kept else "[red]missed[/]",
        )  # fmt: skip
    console.print(table)
    for comparison in found:
        console.print(f"{comparison.name}: {comparison.note}", markup=False, highlight=False)
    console.print("Kept or missed is judged on the median pair by the clock.", markup=False)


def _spread(values: Sequence[float], digits: int) -> str:
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{middle} ({low} to {high})"


def document(found: Sequence[Comparison], repeats: int) -> dict[str, object]:
    """The numbers with what they were measured on; nothing that names a place on this machine."""
    return {
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in PACKAGES},
        "repeats": repeats,
        "comparisons": [comparison.document() for comparison in found],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whether promises are kept or not; 1 when best-of-n's two ways disagree about a winner."""
    names = ("sft", "dpo", "stage", "best-of-n")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*names, []], help="which to run (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--base", type=Path, help="a model directory instead of the one in params.yaml")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/foundation.json")
    options = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    os.environ.setdefault("TQDM_DISABLE", "1")
    _pull()
    with tempfile.TemporaryDirectory() as folder:
        material = gather(ROOT, Path(folder), options.base)
        try:
            found = comparisons(material, options.repeats, options.names or names)
        except AssertionError as error:
            console.print(str(error), style="red", markup=False)
            return 1
    show(found, options.repeats, console)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(document(found, options.repeats), indent=2) + "\n", encoding="utf-8")
    return 0


def _pull() -> None:
    """The data and the base, where the clone does not have them yet."""
    from flows.storage.data import pull

    pull(ROOT)


if __name__ == "__main__":
    sys.exit(main())
