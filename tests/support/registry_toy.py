"""A toy project with packaged two-layer models, gates and reports in MLflow, and what tests of promotion need of it.

Made once for all tests: packaging and logging two real models takes most of a minute. The models differ in architecture
and tokenizer, as a candidate and the champion may.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import environment
from flows.history import evidence, registry
from tasks.common.hashes import content_hash
from tests.support import toy

NAMES = ("gpt2", "qwen2")
STAGES = """\
stages:
  compare:
    cmd: mkdir -p out metrics && cp given/comparisons.jsonl out && cp given/compare.json metrics
    deps: [given/comparisons.jsonl, given/compare.json]
    params: [compare]
    outs: [out/comparisons.jsonl]
    metrics: [metrics/compare.json]
  train:
    cmd: python work.py train && cat work.py out/comparisons.jsonl > out/policy.txt
    deps: [work.py, out/comparisons.jsonl]
    params: [first]
    outs: [out/policy.txt]
  package:
    cmd: mkdir -p artifacts && cp -r packaged artifacts/package
    deps: [packaged, out/policy.txt]
    outs: [artifacts/package]
  gate:
    cmd: mkdir -p metrics && cp gate.json metrics/gate.json
    deps: [gate.json, out/policy.txt]
    metrics: [metrics/gate.json]
  report:
    cmd: mkdir -p artifacts/report && echo "<html></html>" > artifacts/report/report.html
    deps: [metrics/gate.json]
    outs: [artifacts/report]
"""
JUDGES = "compare: {judges: [{name: careful, kind: simulated, weights: {helpfulness: 1.0}}]}\ngold: {kind: oracle}\n"


def candidate_hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def gate_document(name: str, **changes) -> dict:
    """A gate that promotes the candidate `name`, compared with SFT."""
    return {
        "verdict": "promote",
        "reasons": ["superiority: win rate 0.700: passed"],
        "candidate_hash": candidate_hash(name),
        "reference": "sft",
        "reference_hash": candidate_hash("sft"),
        **changes,
    }


def against(champion: str, **changes) -> dict:
    """What a gate says that compared with this champion."""
    return {"reference": "champion", "reference_hash": candidate_hash(champion), **changes}


@dataclass(frozen=True)
class Asked:
    """What promotes one candidate: the hashes that the flow is started with."""

    candidate: str
    gate: str


def make_registry_toy(folder: Path) -> Path:
    """The project, aligned once with each model; nothing is promoted."""
    write_project(folder)
    for name in NAMES:
        write_candidate(folder, name)
        align(folder)
    return folder


def write_project(folder: Path) -> None:
    """The project without a candidate."""
    toy.make_toy(folder)
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "params.yaml").write_text(toy.PARAMS + JUDGES)
    with (folder / ".gitignore").open("a") as ignore:
        ignore.write("/artifacts/\n/packaged/\n")
    (folder / "given").mkdir()
    (folder / "given" / "comparisons.jsonl").write_text('{"prompt": "Can I wash my teddy bear?"}\n')
    (folder / "given" / "compare.json").write_text('{"pairs": 3, "train": 2, "heldout": 1}')


def write_candidate(folder: Path, name: str, **gate) -> None:
    """Put another packaged model and its gate into the project."""
    from tests.support import tiny_models

    packaged = folder / "packaged"
    shutil.rmtree(packaged, ignore_errors=True)
    getattr(tiny_models, f"make_{name}")(packaged)
    (packaged / "plumbline.json").write_text(json.dumps({"policy": candidate_hash(name)}))
    (folder / "gate.json").write_text(json.dumps(gate_document(name, **gate)))


ALIGN = """
import sys
from pathlib import Path
import pytest

from flows import environment
from flows.history import evidence, registry
from flows.graph.running import StageRun
from flows.alignment.session import Session
from flows.settings import read_settings
from flows.graph.stages import Graph
from flows.alignment.tracking import Tracker

root = Path.cwd()
environment.prepare(root)
session = Session(root, environment.state_dir(root), Graph(root), read_settings(root), 2, [])
tracker = Tracker(session)
tracker.opens("0123456789")
for name in session.graph.stages:
    tracker.ends(StageRun(name, session.graph.version(name), "current"))
tracker.close(finished=True)
sys.exit("\\n".join(tracker.problems) or 0)
"""


def align(folder: Path) -> None:
    """Run the stages and log them, as `plumb align` does, without Prefect's start."""
    toy.command(folder, sys.executable, "-m", "dvc", "repro", "-q")
    toy.command(folder, sys.executable, "-c", ALIGN)


def shared(tmp_path_factory) -> Path:
    """The one project of this test session, whichever of its processes asks."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "registry-toy"
    with (base / "registry-toy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = make_registry_toy(base / "registry-toy.partial")
            # MLflow knows its artifacts by absolute path, so the folder must not move.
            folder.symlink_to(made)
    return folder.resolve()


class Registry:
    """One test's own MLflow database over the shared project."""

    def __init__(self, project: Path, tmp_path: Path, monkeypatch, database: Path | None = None):
        self.root = project
        self.database = database or Path(shutil.copy(project / "mlflow.db", tmp_path / "mlflow.db"))
        self.state = tmp_path / "state"
        for name, value in toy.toy_environment(project).items():
            monkeypatch.setenv(name, value)
        for name in [n for n in os.environ if n.startswith(("PLUMB_", "MLFLOW_", "PREFECT_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", self.uri)
        monkeypatch.setenv("PLUMB_STATE", str(self.state))
        before = dict(os.environ)
        environment.prepare(project)
        for name in os.environ.keys() - before.keys():
            monkeypatch.setenv(name, os.environ.pop(name))

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def client(self):
        import mlflow
        from mlflow import MlflowClient

        mlflow.set_tracking_uri(self.uri)
        return MlflowClient()

    def gate(self, name: str, **changes) -> Asked:
        """Another gate on a candidate that was packaged, logged as tracking logs it; its hashes."""
        client = self.client
        align = self._align_of(name)
        path = self.state / "gates" / "metrics" / "gate.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(gate_document(name, **changes)))
        tags = {evidence.STAGE: "gate", evidence.KIND: "stage", evidence.COMPLETE: "true"}
        tags |= {registry.CANDIDATE: candidate_hash(name), registry.GATE: content_hash(path)}
        run = client.create_run("1", tags=tags)
        client.log_artifact(run.info.run_id, str(path), "metrics")
        kept = {key: value for key, value in align.data.tags.items() if key.startswith("plumb.")}
        parent = client.create_run("1", tags={**kept, "plumb.run.gate": run.info.run_id})
        client.log_artifact(parent.info.run_id, client.download_artifacts(align.info.run_id, "dvc.lock"))
        client.set_terminated(parent.info.run_id, "FINISHED")
        return Asked(candidate_hash(name), content_hash(path))

    def _align_of(self, name: str):
        """The run of `plumb align` in which the candidate was made."""
        client = self.client
        where = f"tags.`plumb.stage` = 'package' AND tags.`{registry.CANDIDATE}` = '{candidate_hash(name)}'"
        (package,) = client.search_runs(["1"], where)
        where = f"tags.`plumb.run.package` = '{package.info.run_id}'"
        parents = client.search_runs(["1"], where, order_by=["start_time ASC"])
        return parents[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The shared project; to be read, not changed."""
    return shared(tmp_path_factory)


@pytest.fixture()
def world(project, tmp_path, monkeypatch) -> Registry:
    """A registry of the test's own, in which nothing is promoted yet."""
    return Registry(project, tmp_path, monkeypatch)
