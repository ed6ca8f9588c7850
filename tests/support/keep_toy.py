"""A project in the shape of ours whose stages take no time and no torch: rows in, weights out, with real git, DVC and
MLflow. For tests of what a row went into, what is kept and what is forgotten."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows.history import registry
from tasks.common.rows import write_jsonl
from tests.support import toy
from tests.support.intake_project import NOBODY, Project

NAME = "plumbline"
DEMONSTRATIONS = [
    {"id": f"d-{i}", "split": "sft", "prompt": f"Please tell me all about teddy bear number {i}",
     "completion": f"Bear number {i} is brown and friendly."} for i in (1, 2)
]  # fmt: skip
PROMPTS = [
    {"id": f"{split[0]}-{i}", "split": split, "prompt": f"What is the {split} question number {i}, please?"}
    for split in ("compare", "rl", "select", "gate") for i in (1, 2, 3)
]  # fmt: skip
PREFERENCES = [
    {"id": f"f-{i}", "split": "preferences", "prompt": f"Which of the boxes is number {i}, please?",
     "chosen": f"The blue box number {i}.", "rejected": "No idea."} for i in (1, 2)
]  # fmt: skip

WORK = '''\
"""Weights are the hash of what they were trained on; a training writes its name into the file that TOY_TRAINED names."""
import hashlib, json, os, sys
from pathlib import Path

A = Path("artifacts")

def rows(path): return [json.loads(line) for line in Path(path).read_text().splitlines()]

def write(path, *found):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row) + "\\n" for row in found))

def metrics(name, **numbers):
    Path("metrics").mkdir(exist_ok=True)
    Path(f"metrics/{name}.json").write_text(json.dumps(numbers))

def train(name, *sources):
    if "TOY_TRAINED" in os.environ:
        with open(os.environ["TOY_TRAINED"], "a") as file: file.write(name + "\\n")
    digest = hashlib.sha256(b"".join(Path(s).read_bytes() for s in sources)).hexdigest().encode()
    (A / name).mkdir(parents=True, exist_ok=True)
    (A / name / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + digest)

def weights(name): return A / name / "model.safetensors"

def stage(name):
    D = A / "data"
    if name == "prepare":
        from tasks.runner.params import read_params, stage_config
        from tasks.prepare import write_splits
        cfg = stage_config(read_params(Path("params.yaml")), "prepare").data
        metrics("prepare", **write_splits(cfg, Path(cfg.path), D, check=None))
    elif name == "sft": train("sft", "data/base/model.safetensors", D / "demonstrations.jsonl")
    elif name == "generate":
        write(A / "generate/samples.jsonl", *({"id": f"{r['id']}#{i}", "prompt_id": r["id"], "response": f"No {i}"}
              for r in rows(D / "compare_prompts.jsonl") for i in (0, 1)))
    elif name == "compare":
        found = [{"id": f"{r['id']}#0>1", "prompt": r["prompt"], "source": "judged"} for r in rows(D / "compare_prompts.jsonl")]
        given = [{**r, "source": "given"} for r in rows(D / "preferences.jsonl")]
        write(A / "compare/train.jsonl", *found[:1], *given)
        write(A / "compare/heldout.jsonl", *found[1:2])
        outcomes = ("kept", "kept", "tie")
        write(A / "compare/pairs.jsonl", *({"prompt_id": r["prompt_id"], "a": r["id"], "b": r["id"][:-1] + "1", "outcome": o}
              for r, o in zip(rows(A / "generate/samples.jsonl")[::2], outcomes)))
        metrics("compare", pairs=len(found))
    elif name == "reward": train("reward", weights("sft"), A / "compare/train.jsonl")
    elif name == "dpo": train("dpo", weights("sft"), A / "compare/train.jsonl")
    elif name == "ppo": train("ppo", weights("sft"), weights("reward"), D / "rl_prompts.jsonl")
    elif name == "evaluate":
        prompts = rows(D / "select_prompts.jsonl")
        write(A / "evaluate/scores.jsonl", *({"prompt_id": r["id"], "model": m} for r in prompts for m in ("dpo", "ppo")))
        metrics("evaluate", examples=[{"prompt": prompts[0]["prompt"][0]["content"], "answers": {}}])
    elif name == "select":
        (A / "select").mkdir(parents=True, exist_ok=True)
        candidates = [{"method": "dpo"}, {"method": "ppo"}]
        (A / "select/selection.json").write_text(json.dumps({"method": "dpo", "candidates": candidates}))
    elif name == "gate":
        write(A / "gate/answers.jsonl", *({"prompt_id": r["id"]} for r in rows(D / "gate_prompts.jsonl")))
        metrics("gate", verdict="promote", candidate=hashlib.sha256(weights("dpo").read_bytes()).hexdigest())
    elif name == "package":
        (A / "package").mkdir(parents=True, exist_ok=True)
        (A / "package/model.safetensors").write_bytes(weights("dpo").read_bytes() + b"packaged")

stage(sys.argv[1])
'''


def _dvc_yaml() -> str:
    data = "artifacts/data"
    splits = ["demonstrations", "heldout_demonstrations", "compare_prompts", "rl_prompts", "select_prompts",
              "gate_prompts", "preferences", "gold_preferences"]  # fmt: skip
    a = "artifacts/{}".format
    policies = [a("dpo"), a("ppo")]
    shape = {
        "sft": (["data/base", f"{data}/demonstrations.jsonl"], [a("sft")], []),
        "generate": ([a("sft"), f"{data}/compare_prompts.jsonl"], [a("generate")], []),
        "compare": ([a("generate"), f"{data}/compare_prompts.jsonl", f"{data}/preferences.jsonl"], [a("compare")], ["compare"]),
        "reward": ([a("sft"), a("compare")], [a("reward")], []),
        "dpo": ([a("sft"), a("compare")], [a("dpo")], []),
        "ppo": ([a("sft"), a("reward"), f"{data}/rl_prompts.jsonl"], [a("ppo")], []),
        "evaluate": ([*policies, f"{data}/select_prompts.jsonl"], [a("evaluate")], ["evaluate"]),
        "select": ([a("evaluate")], [a("select")], []),
        "gate": ([*policies, a("select"), f"{data}/gate_prompts.jsonl"], [a("gate")], ["gate"]),
        "package": ([*policies, a("select")], [a("package")], []),
    }  # fmt: skip
    stages = {
        "prepare": {
            "cmd": "python work.py prepare", "deps": ["work.py", "${data.path}"], "params": ["data"],
            "outs": [f"{data}/{split}.jsonl" for split in splits], "metrics": ["metrics/prepare.json"],
        }
    }  # fmt: skip
    for name, (deps, outs, metrics) in shape.items():
        stages[name] = {"cmd": f"python work.py {name}", "deps": ["work.py", *deps], "outs": outs}
        if metrics:
            stages[name]["metrics"] = [f"metrics/{metric}.json" for metric in metrics]
    return yaml.safe_dump({"stages": stages}, sort_keys=False)


@dataclass
class KeepProject(Project):
    """The project with a registry of its own."""

    @property
    def state(self) -> Path:
        return self.folder / ".dvc" / "plumb-state"

    def environment(self, **more: str) -> dict[str, str]:
        """Without what `client` has set for this process: mlflow.set_tracking_uri writes into the environment."""
        variables = super().environment()
        return {name: value for name, value in variables.items() if not name.startswith(("MLFLOW_", "PLUMB_"))} | more

    @property
    def client(self):
        import mlflow
        from mlflow import MlflowClient

        uri = f"sqlite:///{self.folder / 'mlflow.db'}"
        mlflow.set_tracking_uri(uri)
        return MlflowClient(uri)

    def plumb(self, *arguments: str, code: int = 0, **more: str) -> str:
        answer = self.run([sys.executable, "-m", "flows.cli", *arguments], **more)
        assert answer.returncode == code, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def align(self, name: str) -> str:
        """Run the stages and log dvc.lock and small files, as `plumb align` does, in a moment; the id of the run."""
        self.do("dvc", "repro", "-q")
        client = self.client
        known = client.get_experiment_by_name(NAME)
        where = (self.folder / "mlartifacts").as_uri()
        experiment = known.experiment_id if known else client.create_experiment(NAME, where)
        run = client.create_run(experiment, tags={"plumb.kind": "flow"}, run_name=name).info.run_id
        client.log_artifact(run, str(self.folder / "dvc.lock"))
        client.log_artifact(run, str(self.folder / "artifacts" / "data" / "demonstrations.jsonl"), "artifacts/data")
        client.set_terminated(run)
        return run

    def register(self, run: str, alias: str | None, replaces: int | None = None) -> int:
        """A version as `plumb promote` leaves it, as far as lineage and gc look at it."""
        client, lock = self.client, yaml.safe_load((self.folder / "dvc.lock").read_text())
        registry.ensure_model(client, NAME)
        package = lock["stages"]["package"]["outs"][0]["md5"]
        tags = {registry.RUN: run, registry.PACKAGE: package, registry.REPLACES: registry.name_of(replaces)}
        version = client.create_model_version(NAME, "file:///nowhere", tags=tags).version
        if alias:
            client.set_registered_model_alias(NAME, alias, version)
        return int(version)

    def change_data(self, text: str) -> None:
        """One demonstration more, committed."""
        path = self.folder / "data" / "items" / "demonstrations.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        more = {"id": f"d-{text}", "split": "sft", "prompt": f"Say {text} to my aunt, please", "completion": f"{text}!"}
        path.unlink()
        write_jsonl(path, [*rows, more])
        self.do("dvc", "add", "-q", "data/items")
        self.do("dvc", "push", "-q", "-r", "first", "data/items.dvc")
        self.do("git", "commit", "-qam", text)

    def cached(self) -> set[str]:
        """The hashes in DVC's cache."""
        return hashes_below(self.folder / ".dvc" / "cache")


def hashes_below(store: Path) -> set[str]:
    return {path.parent.name + path.name for path in (store / "files" / "md5").glob("??/*")}


def holding(folder: Path, *words: str) -> list[str]:
    """The files below a folder that hold any of the words, `.git` and databases' pages included."""
    holders = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words):
            holders.append(str(path.relative_to(folder)))
    return holders


def make_project(place: Path) -> KeepProject:
    """A committed project in a folder of its own below `place`, never run."""
    shutil.copytree(_template(), place, dirs_exist_ok=True)
    return KeepProject(place / "project", place / "origin.git", NOBODY)


@functools.cache
def _template() -> Path:
    """Made once: git and dvc take seconds to set up. All addresses are relative."""
    holder = tempfile.TemporaryDirectory()
    atexit.register(holder.cleanup)
    project = Project(Path(holder.name) / "project", Path(holder.name) / "origin.git", NOBODY)
    folder = project.folder
    folder.mkdir()
    params = yaml.safe_load((toy.ROOT / "params.yaml").read_text())
    params["data"] |= {"path": "data/items", "preferences": "preferences.jsonl"}
    params["gc"] = {"runs": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (folder / "dvc.yaml").write_text(_dvc_yaml())
    (folder / "work.py").write_text(WORK)
    ignored = ("__pycache__/", "/artifacts/", "/metrics/", "/mlflow.db*", "/mlartifacts/", "/.prefect/")
    (folder / ".gitignore").write_text("".join(f"{line}\n" for line in ignored))
    (folder / "data" / "base").mkdir(parents=True)
    (folder / "data" / "base" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}base")
    write_jsonl(folder / "data" / "items" / "demonstrations.jsonl", DEMONSTRATIONS)
    write_jsonl(folder / "data" / "items" / "prompts.jsonl", PROMPTS)
    write_jsonl(folder / "data" / "items" / "preferences.jsonl", PREFERENCES)
    project.set_up("data/items", "data/base")
    return Path(holder.name)
