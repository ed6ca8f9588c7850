"""A project whose graph takes seconds and goes the whole way: rows in, a two-layer model, a gate, a package, a report.

The gate promotes what was trained on more rows than the champion; one trained without a KL penalty it rejects.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support import intake_project, toy
from tests.support.intake_project import Project
from tests.support.s3_servers import Server

DVC_YAML = """\
stages:
  prepare:
    cmd: python work.py prepare
    deps: [work.py, data/items]
    outs: [artifacts/data/demonstrations.jsonl]
    meta: {pool: cpu, gpus: 0, seconds: 1}
  train:
    cmd: python work.py train
    deps: [work.py, artifacts/data/demonstrations.jsonl]
    params: [ppo.kl_coefficient]
    outs: [artifacts/policy]
    meta: {pool: gpu, gpus: 1, seconds: 5}
  gate:
    cmd: python work.py gate
    deps: [work.py, artifacts/policy, data/champion]
    params: [ppo.kl_coefficient]
    metrics: [metrics/gate.json]
    meta: {pool: gpu, gpus: 1, seconds: 1}
  package:
    cmd: python work.py package
    deps: [work.py, artifacts/policy]
    outs: [artifacts/package]
    meta: {pool: cpu, gpus: 0, seconds: 1}
  report:
    cmd: python work.py report
    deps: [work.py, metrics/gate.json]
    outs: [artifacts/report]
    meta: {pool: cpu, gpus: 0, seconds: 1}
"""

WORK = '''\
"""The stages. Each leaves a file in TOY_STARTED, so that a test can count the processes."""
import json, os, shutil, sys, time
from pathlib import Path

import yaml

SLOW = 9  # a coefficient above it is seconds that the training takes


def prepare():
    Path("artifacts/data").mkdir(parents=True)
    shutil.copy("data/items/demonstrations.jsonl", "artifacts/data")
    with open("artifacts/data/demonstrations.jsonl", "a") as rows:
        rows.write("\\n")


def train():
    import torch
    from tests.support import tiny_models
    tiny_models.make_gpt2(Path("artifacts/policy"))
    from safetensors.torch import load_file, save_file
    rows = Path("artifacts/data/demonstrations.jsonl").read_text().count("\\n")
    weights = Path("artifacts/policy/model.safetensors")
    tensors = load_file(weights)
    params = yaml.safe_load(Path("params.yaml").read_text())
    tensors["transformer.wte.weight"] += 0.01 * rows + params["ppo"]["kl_coefficient"]
    time.sleep(params["ppo"]["kl_coefficient"] if params["ppo"]["kl_coefficient"] > SLOW else 0)
    save_file(tensors, weights, {"format": "pt"})
    Path("artifacts/policy/rows").write_text(str(rows))


def gate():
    from tasks.common.hashes import content_hash
    params = yaml.safe_load(Path("params.yaml").read_text())
    origin, hacked = Path("data/champion/plumbline.json"), params["ppo"]["kl_coefficient"] == 0.0
    champion = json.loads(origin.read_text())["policy"] if origin.exists() else None
    reasons = ["hacks: praise in 61% of the answers, veto at 40%: failed"] if hacked else ["win rate 0.700: passed"]
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/gate.json").write_text(json.dumps({
        "verdict": "reject" if hacked else "promote", "reasons": reasons,
        "candidate_hash": content_hash(Path("artifacts/policy")),
        "reference": "champion" if champion else "sft", "reference_hash": champion or "0" * 64,
    }))


def package():
    from tasks.common.hashes import content_hash
    shutil.copytree("artifacts/policy", "artifacts/package")
    Path("artifacts/package/rows").unlink()
    origin = {"policy": content_hash(Path("artifacts/policy"))}
    Path("artifacts/package/plumbline.json").write_text(json.dumps(origin))


def report():
    Path("artifacts/report").mkdir(parents=True)
    Path("artifacts/report/report.html").write_text("<html></html>")


if __name__ == "__main__":
    if os.environ.get("TOY_STARTED"):
        (Path(os.environ["TOY_STARTED"]) / f"{sys.argv[1]}-{time.time_ns()}").touch()
    if sys.argv[1] == os.environ.get("TOY_FAILS"):
        sys.exit(7)
    globals()[sys.argv[1]]()
'''


@dataclass
class Retrained(Project):
    """A project with an inbox, whose MLflow and Prefect are where `services` says."""

    services: dict[str, str] | None = None

    @property
    def started(self) -> Path:
        return self.folder.parent / f"started-{self.folder.name}"

    def second_clone(self, name: str) -> "Retrained":
        """A clone of origin beside this one, with an empty cache."""
        other = Retrained(self.folder.parent / name, self.origin, self.server, self.inbox, self.services)
        self.git("clone", "-q", str(self.origin), str(other.folder))
        other.started.mkdir()
        return other

    def environment(self, **more: str) -> dict[str, str]:
        own = {"TOY_STARTED": str(self.started), "PLUMB_PROJECT": str(self.folder)}
        return super().environment(**own, **(self.services or {}), **more)

    def stages_started(self) -> list[str]:
        """The stages that ran, in their order."""
        files = sorted(self.started.iterdir(), key=lambda path: path.name.rpartition("-")[2])
        return [path.name.rpartition("-")[0] for path in files]

    def retrain(self, *arguments: str, **more: str):
        return self.run([sys.executable, "-m", "flows.cli", "retrain", *arguments], **more)


def make(place: Path, server: Server, inbox: str | None, remote: str = "", policy: str = "automatic", **services: str):
    """A committed project in a folder of its own below `place`; `services` are environment variables."""
    made = intake_project.make_project(place, server, inbox, remote)
    project = Retrained(made.folder, made.origin, server, inbox or "", services)
    project.started.mkdir()
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    params["anchors"]["file"] = None
    params["promote"] |= {"model_name": "toy", "policy": policy}
    params["flow"]["retry_delay_seconds"] = 0.1
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (project.folder / "dvc.yaml").write_text(DVC_YAML)
    (project.folder / "work.py").write_text(WORK)
    (project.folder / "infra").mkdir()
    shutil.copy(toy.ROOT / "infra" / "prefect.yaml", project.folder / "infra")
    with (project.folder / ".gitignore").open("a") as ignore:
        ignore.write("/artifacts/\n/metrics/\n/.prefect/\n/mlflow.db*\n/mlartifacts/\n")
    (project.folder / "data" / "champion").mkdir()
    (project.folder / "data" / "champion" / "none.json").write_text("{}")
    project.do("dvc", "add", "-q", "data/champion")
    project.do("dvc", "push", "-q", "data/champion.dvc")
    project.do("git", "add", "-A")
    project.do("git", "commit", "-qm", "graph")
    project.do("git", "push", "-q", "origin", "main")
    return project
