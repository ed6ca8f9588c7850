"""A team's data for prepare: its settings, and rows in the form that is simplest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.config.data import DataConfig, PrepareConfig
from tasks.prepare import write_splits

NO_COLUMNS = {"demonstrations": None, "prompts": None, "preferences": None}
SHARES = {"sft": 0.3, "compare": 0.15, "rl": 0.2, "select": 0.1, "gate": 0.15, "preferences": 0.3, "gold": 0.2}
NEAR = {"words": 3, "resemblance": 0.8, "containment": 0.9, "contained_words": 8}


def config(**changes) -> PrepareConfig:
    values = {"path": ".", "demonstrations": "demos.jsonl", "prompts": "prompts.jsonl", "preferences": None,
              "columns": NO_COLUMNS, "pairs": {"minimum_gap": 1.0}, "bad_rows": "refuse", "max_characters": None,
              "near_repeats": NEAR, "splits": SHARES, **changes}
    return PrepareConfig(data=DataConfig(**values))


def prepare(cfg, data, out):
    """What the stage does but for the chat template, which test_rendering.py asks."""
    return write_splits(cfg.data, data, out, check=None)


def write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


SPLITS = ("compare", "rl", "select", "gate")


@pytest.fixture()
def data(tmp_path):
    """Demonstrations for SFT, and two prompts in each split of prompts."""
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "demos.jsonl", demonstrations("sft", 4))
    write(folder / "prompts.jsonl", prompts())
    return folder


def demonstrations(split, count):
    return [{"prompt": f"do {split} {i}", "completion": "done", "split": split} for i in range(count)]


def prompts(*more):
    return [{"prompt": f"{split} {i}", "split": split} for split in SPLITS for i in range(2)] + list(more)
