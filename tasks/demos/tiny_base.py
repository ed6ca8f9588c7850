"""`python -m tasks.demos.tiny_base --params FILE --data DIR --out DIR`: a tiny base model of a team's own text.

For trying Plumbline on data where no base model of a fitting size is at hand. Only text of the splits `sft` and
`preferences` is read; of the prompts and pairs that select, gate and gold hold out, nothing is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from models.lm.tiny import build_base
from tasks.common import errors
from tasks.common.rows import appears_whole, read_jsonl
from tasks.config.data import PrepareConfig
from tasks.data.rendering import conversations
from tasks.prepare import write_splits
from tasks.runner.params import read_params, stage_config

SPEAKERS = {"user": "Human", "assistant": "Assistant"}


def texts(cfg: PrepareConfig, data: Path) -> list[str]:
    """Each conversation that may train, as plain text: a base has not seen a chat template."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        write_splits(cfg.data, data, out, check=None)  # there is no chat template yet
        rows = read_jsonl(out / "demonstrations.jsonl") + read_jsonl(out / "preferences.jsonl")
    return sorted({as_text(messages) for row in rows for messages, _ in conversations(row)})


def as_text(messages: list[dict[str, str]]) -> str:
    return "\n\n".join(f"{SPEAKERS.get(m['role'], m['role'].title())}: {m['content']}" for m in messages)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tasks.demos.tiny_base", description=__doc__.split("\n\n")[0])
    parser.add_argument("--params", type=Path, required=True, help="a params file; its section `data` is read")
    parser.add_argument("--data", type=Path, required=True, help="the folder with the data files")
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--context", type=int, default=512)
    parsed = parser.parse_args(arguments)
    try:
        corpus = texts(stage_config(read_params(parsed.params), "prepare", parsed.params), parsed.data)
        torch.set_num_threads(1)  # the last bits depend on it
        with appears_whole(parsed.out) as partial:
            build_base(corpus, partial, steps=parsed.steps, context=parsed.context, on_step=_print_step)
    except ValueError as error:
        print(f"tiny_base: {errors.one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _print_step(step: int, loss: float) -> None:
    print(f"step {step}: loss {loss:.3f} nats per token", flush=True)


if __name__ == "__main__":
    sys.exit(main())
