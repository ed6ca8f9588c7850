"""The pages of Prefect and MLflow, opened in headless Chromium; pictures of them are kept in .logs/pages."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.import_closure import ROOT
from tests.s3_servers import browser

PICTURES = Path(os.environ.get("PLUMB_PICTURES", ROOT / ".logs" / "pages"))
MIN_BYTES = 10_000  # an empty page of either is less


def look(name: str, address: str, *words: str) -> str:
    """What the page shows, once the first of the words is there; all must be, and no script may have failed."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"{name}.png"
    command = [*browser(), address, str(picture), "--wait", words[0]]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, f"{name}: {answer.stderr}"
    seen = json.loads(answer.stdout)
    missing = [word for word in words if word not in seen["text"]]
    assert not missing, f"{name} lacks {missing}: {seen['text'][:3000]}"
    assert seen["failures"] == [], f"{name}: {seen['failures']}"
    assert picture.stat().st_size > MIN_BYTES
    return seen["text"]


def open_prefect(api: str, run: str, artifact: str, automations: list[str]) -> None:
    """Runs, one retraining with what it came to, and the automations."""
    base = api.removesuffix("/api")
    look("prefect-runs", f"{base}/runs", "retrain", "promote")
    look("prefect-deployments", f"{base}/deployments", "retrain", "stages")
    look("prefect-retrain", f"{base}/runs/flow-run/{run}", "Asked", "look for changes")
    look("prefect-artifact", f"{base}/artifacts/artifact/{artifact}", "outside them", "candidate")
    look("prefect-automations", f"{base}/automations", *automations)


def open_mlflow(url: str, experiment: str, align: str, version: int) -> None:
    """The experiment, one run with its stages, the registered model, and the version that serves."""
    look("mlflow-runs", f"{url}/#/experiments/{experiment}/runs", "retrain")
    look("mlflow-run", f"{url}/#/experiments/{experiment}/runs/{align}", "plumb.kind")
    look("mlflow-model", f"{url}/#/models/toy", "champion")
    look("mlflow-version", f"{url}/#/models/toy/versions/{version}", "replaces", "plumb.gate_hash", "plumb.approval")
