"""What the benchmarks work on: the base model, its tokenizer, rows of hearth, and the settings of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import ROOT
from models.chat.template import load_tokenizer
from tasks.common.rows import Row, read_jsonl
from tasks.runner.params import read_params, stage_config


@dataclass(frozen=True)
class Material:
    """`base` is the model directory, `params` the whole params.yaml, `folder` a scratch folder."""

    root: Path
    base: Path
    params: dict[str, Any]
    tokenizer: Any
    demonstrations: list[Row]
    prompts: list[Row]
    folder: Path

    def config(self, stage: str, **changes: Any) -> Any:
        """The typed config of a stage, with `changes` to its own section."""
        return config(self.params, stage, changes)


def config(params: dict[str, Any], stage: str, changes: dict[str, Any], **runtime: Any) -> Any:
    """The typed config of a stage, with `changes` to its section of params.yaml and those to `runtime`."""
    changed = {stage: {**params[stage], **changes}, "runtime": {**params["runtime"], **runtime}}
    return stage_config({**params, **changed}, stage)


def pulled_params() -> dict[str, Any]:
    """This project's params.yaml, after its data and base were fetched, where the clone does not have them yet."""
    from flows.storage.data import pull

    pull(ROOT)
    return read_params(ROOT / "params.yaml")


def gather(root: Path, folder: Path, base: Path | None = None) -> Material:
    """The material of the project at `root`; `base` stands in for the model that params.yaml names.

    Raises ValueError for a params file, model or row that cannot be read.
    """
    params = read_params(root / "params.yaml")
    data = root / params["data"]["path"]
    base = (base or root / params["model"]["path"]).resolve()
    return Material(
        root=root,
        base=base,
        params=params,
        tokenizer=load_tokenizer(base),
        demonstrations=read_jsonl(data / params["data"]["demonstrations"]),
        prompts=[row for row in read_jsonl(data / params["data"]["prompts"]) if row.get("split") == "select"],
        folder=folder,
    )


def comparisons(demonstrations: list[Row]) -> list[Row]:
    """Rows as `compare` writes them: the answer to each demonstration against the answer to the one after it."""
    following = [*demonstrations[1:], *demonstrations[:1]]
    return [
        {"prompt": row["messages"][:-1], "chosen": row["messages"][-1:], "rejected": other["messages"][-1:]}
        for row, other in zip(demonstrations, following, strict=True)
    ]
