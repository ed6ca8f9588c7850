"""The pages of Prefect and MLflow, opened in headless Chromium; pictures of them are kept in .logs/pages."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.import_closure import ROOT
from tests.support.s3_servers import browser

PICTURES = Path(os.environ.get("PLUMB_PICTURES", ROOT / ".logs" / "pages"))
MIN_BYTES = 10_000  # an empty page of either is less


def look(name: str, address: str, *words: str, click: str | None = None) -> list[str]:
    """Open a page, press a button on it if one is named, wait for the first word; returns what is wrong with it.

    All words must be seen, and no script may have failed.
    """
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"{name}.png"
    command = [*browser(), address, str(picture), "--wait", words[0], *(["--click", click] if click else [])]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if answer.returncode != 0:
        return [f"{name}: {answer.stderr}"]
    seen = json.loads(answer.stdout)
    problems = [f"{name} lacks {word!r}: {seen['text'][:2000]}" for word in words if word not in seen["text"]]
    problems += [f"{name}: {failure}" for failure in seen["failures"]]
    return problems + ([f"{name} is empty"] if picture.stat().st_size < MIN_BYTES else [])


def approval(api: str, run: str) -> list[str]:
    """The run that waits, and the form that a person fills in."""
    page = f"{api.removesuffix('/api')}/runs/flow-run/{run}"
    problems = look("prefect-waits", page, "Suspended")
    return problems + look("prefect-approval", page, "Promote v2 of toy?", "Verdict promote", "Report", click="Resume")


def prefect(api: str, run: str, artifact: str, automations: list[str]) -> list[str]:
    """Runs, deployments, one retraining with what it came to, and the automations."""
    base = api.removesuffix("/api")
    return [
        *look("prefect-runs", f"{base}/runs", "promote", "retrain"),
        *look("prefect-deployments", f"{base}/deployments", "retrain", "promote", "cpu", "gpu"),
        *look("prefect-retrain", f"{base}/runs/flow-run/{run}", "Asked", "outside them"),
        *look("prefect-artifact", f"{base}/artifacts/artifact/{artifact}", "outside them", "candidate"),
        *look("prefect-automations", f"{base}/automations", *automations),
    ]


def mlflow(url: str, experiment: str, align: str, version: int) -> list[str]:
    """The experiment, one run with its stages, the registered model, and the version that serves."""
    return [
        *look("mlflow-runs", f"{url}/#/experiments/{experiment}/runs", "retrain"),
        *look("mlflow-run", f"{url}/#/experiments/{experiment}/runs/{align}", "plumb.kind"),
        *look("mlflow-model", f"{url}/#/models/toy", "champion"),
        *look("mlflow-version", f"{url}/#/models/toy/versions/{version}", "replaces", "plumb.gate_hash"),
    ]
