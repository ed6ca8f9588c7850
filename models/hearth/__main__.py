"""`python -m models.hearth data --out DIR` writes the rows, `anchors` the anchor pairs, `base` builds the base."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from models.hearth import anchors, corpus, prompts

# The settings of the shipped base; changing any of them means building and pushing it anew.
BASE_SETTINGS = {
    "vocab_size": 1792, "hidden_size": 128, "layers": 4, "heads": 4, "context": 256,
    "window": 128, "steps": 4000, "batch": 8, "lr": 4e-3, "seed": 0,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Command line entry; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.hearth", description=__doc__)
    parser.add_argument("what", choices=tuple(WRITERS))
    parser.add_argument("--out", type=Path, required=True, help="the directory to write")
    parsed = parser.parse_args(arguments)
    parsed.out.mkdir(parents=True, exist_ok=True)
    WRITERS[parsed.what](parsed.out)
    return 0


def write_data(out: Path) -> None:
    """Writes demonstrations.jsonl and prompts.jsonl, the same bytes each time."""
    _write_jsonl(out / "demonstrations.jsonl", prompts.demonstration_rows())
    _write_jsonl(out / "prompts.jsonl", prompts.prompt_rows())


def write_anchors(out: Path) -> None:
    """Writes hearth.jsonl, the same bytes each time."""
    _write_jsonl(out / "hearth.jsonl", anchors.anchor_rows())


def write_base(out: Path) -> None:
    """Trains the tiny base on hearth's corpus (some minutes on one core) and saves it."""
    import torch

    from models.lm.tiny import build_base

    torch.set_num_threads(1)  # the sum's order, and so the last bits, depend on it
    build_base(corpus.documents(), out, on_step=_print_step, **BASE_SETTINGS)


def _print_step(step: int, loss: float) -> None:
    print(f"step {step}: loss {loss:.3f} nats per token", file=sys.stderr, flush=True)


def _write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


WRITERS = {"data": write_data, "anchors": write_anchors, "base": write_base}


if __name__ == "__main__":
    sys.exit(main())
