"""One stage as MLflow keeps it: params, curves, metrics, the data it was made from, and its small files."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.graph.live import Tail
from flows.graph.stages import Output, Stage
from flows.redact import secrets_in, without_login
from tasks.runner.pipeline import is_code

BATCH = 900
SUFFIXES = {".json", ".jsonl", ".html", ".png", ".svg", ".csv", ".md", ".txt", ".yaml"}
PARAM_CHARACTERS = 5000


def write_params(client, run_id: str, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    rows = [Param(safe_name(name), str(value)[:PARAM_CHARACTERS]) for name, value in params.items()]
    for start in range(0, len(rows), 100):
        client.log_batch(run_id, params=rows[start : start + 100])


def write_curves(client, run_id: str, tail: Tail) -> None:
    """Log the reports that are new. The same report twice is one point: it carries its own time."""
    from mlflow.entities import Metric

    points = [
        Metric(safe_name(name), value, round(1000 * report.time), report.done)
        for report in tail.read()
        for name, value in report.metrics.items()
    ]
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def write_metrics(client, run_id: str, metrics: dict[str, float]) -> None:
    from mlflow.entities import Metric

    now = round(1000 * time.time())
    rows = [Metric(safe_name(name), value, now, 0) for name, value in sorted(metrics.items())]
    for start in range(0, len(rows), BATCH):
        client.log_batch(run_id, metrics=rows[start : start + BATCH])


def write_inputs(client, run_id: str, dependencies: dict[str, str]) -> None:
    """Name every input that is not code as a dataset with the md5 that DVC knows it by."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(
            dataset=Dataset(path, md5[:36], source_type="dvc", source=json.dumps({"path": path, "md5": md5})),
            tags=[InputTag("mlflow.data.context", "input"), InputTag("dvc.md5", md5)],
        )
        for path, md5 in dependencies.items()
        if not is_code(path)
    ]
    if inputs:
        client.log_inputs(run_id, datasets=inputs)


def write_artifacts(
    client, run_id: str, root: Path, stage: Stage, limit_bytes: float, url: Callable[[str], str | None]
) -> None:
    """Log the readable files of a stage up to `limit_bytes` per output; the rest by md5 and remote address.

    url: md5 → the address of that object in the DVC remote.
    """
    by_hash = []
    for out in stage.outs:
        files = _files(root / out.path)
        small = _within(files, limit_bytes)
        for file in small:
            folder = file.relative_to(root).parent.as_posix()
            client.log_artifact(run_id, str(file), None if folder == "." else folder)
        if len(small) < len(files):
            by_hash.append(_reference(out, files, url))
    if by_hash:
        client.log_dict(run_id, {"outputs": by_hash}, "by_hash.json")


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.exists() else []


def _within(files: list[Path], limit_bytes: float) -> list[Path]:
    chosen, total = [], 0
    for file in files:
        size = file.stat().st_size
        if file.suffix in SUFFIXES and total + size <= limit_bytes:
            # By its hash alone, as what is too large: nobody reads a secret in MLflow.
            if not secrets_in(file.read_bytes()):
                chosen.append(file)
                total += size
    return chosen


def _reference(out: Output, files: list[Path], url: Callable[[str], str | None]) -> dict[str, Any]:
    address = url(out.md5) if out.md5 else None
    size = out.size if out.size is not None else sum(file.stat().st_size for file in files)
    return {"path": out.path, "md5": out.md5, "bytes": size, "url": without_login(address) if address else None}


def safe_name(name: str) -> str:
    """MLflow takes letters, digits and a few signs in names; `answers@sft` is not among them."""
    return re.sub(r"[^\w\-. /]", "_", name)
