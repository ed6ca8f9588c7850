"""A whole project in a folder, shrunk to seconds: our graph and code, a two-layer model, a few rows of hearth."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from models.hearth import prompts as hearth
from tasks.common.rows import write_jsonl
from tests.import_closure import ROOT
from tests.support.tiny_models import make_gpt2

ROWS_PER_SPLIT = 12


def small_params() -> dict[str, Any]:
    """The shipped params, shrunk to seconds."""
    return shrunk(yaml.safe_load((ROOT / "params.yaml").read_text()))


def shrunk(params: dict[str, Any]) -> dict[str, Any]:
    """Params of a project in this folder's shape, with as little to do as can be."""
    for stage in ("sft", "reward", "dpo"):
        params[stage] |= {"epochs": 1.0, "batch_size": 8, "max_length": 400, "checkpoint_every": 100}
    params["serving"]["max_new_tokens"] = params["generate"]["max_new_tokens"] = 12
    params["ppo"] |= {"episodes": 16, "batch_size": 8, "minibatch_size": 4, "max_new_tokens": 12}
    params["ppo"]["guards"]["eos_rate_floor"] = 0.0
    params["best_of_n"]["n"] = 4
    params["evaluate"]["resamples"] = params["gate"]["resamples"] = 100
    params["compare"]["heldout_fraction"] = 0.3
    params["model"]["path"], params["data"]["path"] = "base", "data"
    return params


def write_project(folder: Path, params: dict[str, Any]) -> Path:
    """The graph, its params and its code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "data" / "champion").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "champion" / "none.json").write_text('{"champion": null}\n')
    for code in ("tasks", "models"):
        shutil.copytree(ROOT / code, folder / code, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def write_hearth(folder: Path) -> None:
    """A GPT-2-shaped base, PAD equal to EOS, and some rows of every split."""
    make_gpt2(folder / "base")
    kept: dict[str, int] = {}
    rows = []
    for row in hearth.prompt_rows():
        kept[row["split"]] = kept.get(row["split"], 0) + 1
        if kept[row["split"]] <= ROWS_PER_SPLIT:
            rows.append(row)
    write_jsonl(folder / "data" / "prompts.jsonl", rows)
    write_jsonl(folder / "data" / "demonstrations.jsonl", hearth.demonstration_rows()[:40])


def hearth_project(folder: Path, **sections: dict[str, Any]) -> Path:
    """A small project on hearth; `sections` change params, e.g. sft={"epochs": 2.0}."""
    params = small_params()
    for section, values in sections.items():
        params[section] |= values
    write_project(folder, params)
    write_hearth(folder)
    return folder


def under_version_control(folder: Path) -> Path:
    """Make the folder a git and DVC repository."""
    environment = {**os.environ, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t",
                   "GIT_COMMITTER_EMAIL": "t@t"}
    (folder / ".gitignore").write_text("/artifacts\n/metrics\n/.prefect\n/mlflow.db\n/mlartifacts\n__pycache__\n")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"],
                    [sys.executable, "-m", "dvc", "config", "core.analytics", "false"],
                    ["git", "add", "-A"], ["git", "commit", "-qm", "start"]):
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def bytes_below(folder: Path) -> dict:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
