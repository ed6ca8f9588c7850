"""A project of five quick stages with its own git and DVC, for tests of the orchestration: seconds, no torch."""

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil

from flows import environment
from flows.alignment.session import Session
from flows.graph.stages import Graph
from flows.settings import read_settings
from tasks.common.rows import read_jsonl
from tests.import_closure import ROOT

PARAMS = """\
first:
  value: 1     # what the first stage writes
second: {steps: 3}
flow:
  {stage_timeout_minutes: 10.0, retries: 2, retry_delay_seconds: 0.1, pools: null,
   budget: {seconds: null, gpu_seconds: null, calls: null, cost: null}}
tracking: {experiment: toy, max_artifact_mb: 0.001}
gc: {runs: 2}
promote:
  model_name: toy
  policy: automatic
  approval_hours: 1.0
  logit_tolerance: 0.0001
  allowed_architectures: [GPT2LMHeadModel, Qwen2ForCausalLM]
"""

DVC_YAML = """\
stages:
  first:
    cmd: python work.py first
    deps: [work.py]
    params: [first]
    outs: [out/first.txt]
    metrics: [metrics/first.json]
    meta: {pool: cpu, seconds: 2}
  side:
    foreach:
      a: {letter: A}
      b: {letter: B}
    do:
      cmd: python work.py side ${item.letter} ${key}
      deps: [work.py, out/first.txt]
      outs: ["out/side-${key}.txt"]
      meta: {seconds: 2}
  second:
    cmd: python work.py second
    deps: [work.py, out/first.txt]
    params: [second]
    outs: [out/second]
    metrics: [metrics/second.json]
    meta: {seconds: 2}
  last:
    cmd: python work.py last
    deps: [work.py, out/second, out/side-a.txt, out/side-b.txt]
    outs: [out/last.txt]
    metrics: [metrics/evaluate.json]
    meta: {seconds: 2}
"""

WORK = '''\
"""The stages: each waits TOY_SECONDS, reports as it goes, then writes what follows from its inputs alone."""
import json, os, sys, time
from pathlib import Path

from tasks.common import errors
from tasks.common.progress import report
from tasks.runner.watchdog import die_with_parents


def metrics(name, **numbers):
    Path("metrics").mkdir(exist_ok=True)
    Path(f"metrics/{name}.json").write_text(json.dumps(numbers))


def params(section):
    import yaml
    return yaml.safe_load(Path("params.yaml").read_text())[section]


def main(name, *rest):
    die_with_parents()
    Path("out").mkdir(exist_ok=True)
    live = Path(os.environ.get("PLUMB_LIVE", "."))
    (live / "pid").write_text(str(os.getpid()))
    attempts = len(list(live.glob("try*")))
    (live / f"try{attempts}").touch()
    wish = os.environ.get(f"TOY_{name.upper()}", "")
    if wish == "transient once" and attempts == 0:
        raise errors.TransientError("the line is busy")
    if wish == "config":
        raise errors.ConfigError("first.value must be small")
    if wish == "leak":
        said = ", ".join(os.environ[name] for name in os.environ.get("TOY_SECRETS", "OPENAI_API_KEY").split(","))
        print("asking with", said)
        raise errors.ConfigError(f"401: wrong key {said}")
    if wish == "crash":
        sys.exit(7)
    steps = params("second")["steps"] if name == "second" else 2
    for step in range(1, steps + 1):
        time.sleep(float(os.environ.get("TOY_SECONDS", 0)) / steps)
        report(step, steps, loss=1 / step)
    text = {p: Path(p).read_text() for p in sorted(map(str, Path("out").glob("*.txt"))) if name == "last"}
    if name == "first":
        Path("out/first.txt").write_text(str(params("first")["value"]))
        metrics("first", accuracy_where_judge_agrees=0.9, calls=3, cost=0.5)
    elif name == "train":
        pass
    elif name == "side":
        Path(f"out/side-{rest[1]}.txt").write_text(rest[0] + Path("out/first.txt").read_text())
    elif name == "second":
        Path("out/second").mkdir()
        Path("out/second/big.bin").write_bytes(b"x" * 4000)
        Path("out/second/rows.jsonl").write_text("{}\\n")
        metrics("second", loss=0.5)
    else:
        Path("out/last.txt").write_text("".join(text[f"out/side-{k}.txt"] for k in "ab"))
        gold = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}
        metrics("evaluate", models={"sft": {"gold": gold, "helpfulness": None}},
                examples=[{"prompt": "Can I wash my teddy bear?", "answers": {"sft": "Yes, by hand."}}])


if __name__ == "__main__":
    name = sys.argv[1]
    try:
        main(*sys.argv[1:])
    except errors.StageError as error:
        errors.leave_record(name, error)
        sys.exit(f"{name}: {error}")
'''


def make_toy(folder: Path) -> Path:
    """A toy project in `folder`, committed, never run."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True, symlinks=True)
    return folder


@functools.cache
def _template() -> Path:
    """Made once: git and dvc take seconds to set up."""
    holder = tempfile.TemporaryDirectory()
    atexit.register(holder.cleanup)
    folder = Path(holder.name)
    files = {"params.yaml": PARAMS, "dvc.yaml": DVC_YAML, "work.py": WORK}
    files[".gitignore"] = "/out/\n/metrics/\n/.prefect/\n/mlflow.db*\n/mlartifacts/\n__pycache__/\n"
    for name, text in files.items():
        (folder / name).write_text(text)
    command(folder, "git", "init", "-q")
    command(folder, sys.executable, "-m", "dvc", "init", "-q")
    command(folder, sys.executable, "-m", "dvc", "config", "core.analytics", "false")
    command(folder, "git", "add", "-A")
    command(folder, "git", "-c", "user.name=toy", "-c", "user.email=toy@example.org", "commit", "-qm", "toy")
    return folder


def command(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(arguments, cwd=folder, env=toy_environment(folder), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def toy_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a `plumb` in the toy: no setting of ours from outside reaches it."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PLUMB_", "MLFLOW_", "PREFECT_", "TOY_", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), own["PATH"]])
    return own | {"PYTHONPATH": str(ROOT), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more


def plumb(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    """Run the command line in the toy and wait for it."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    environment = toy_environment(folder, **more)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


def make_session(folder: Path, monkeypatch, listeners=(), **more: str) -> Session:
    """A session of the toy in this process, for tests without Prefect."""
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)  # one that an earlier test set would outlive it
    for name, value in toy_environment(folder, **more).items():
        monkeypatch.setenv(name, value)
    for name in [n for n in os.environ if n.startswith(("PLUMB_", "MLFLOW_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    environment_before = dict(os.environ)
    environment.prepare(folder)
    for name in os.environ.keys() - environment_before.keys():
        # Known to monkeypatch, so that it is taken back.
        value = os.environ.pop(name)
        monkeypatch.setenv(name, value)
    state = environment.state_dir(folder)
    return Session(folder, state, Graph(folder), read_settings(folder), 2, list(listeners))


def outs(folder: Path) -> dict[str, bytes]:
    """Path to bytes of everything the toy has made."""
    files = [p for place in ("out", "metrics") for p in (folder / place).rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def gone(process: psutil.Process) -> bool:
    """Dead, whether or not its parent has asked how it ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Marked:
    """A command whose every descendant carries a mark in its environment, so that none can hide."""

    def __init__(self, arguments: list[str], folder: Path, **more: str):
        self.mark = uuid.uuid4().hex
        environment = toy_environment(folder, TOY_MARK=self.mark, **more)
        self.output = folder / f"{self.mark}.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def alive(self) -> list[psutil.Process]:
        """The living processes that carry the mark."""
        processes = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("TOY_MARK") == self.mark:
                    processes.append(process)
            except psutil.Error:
                continue
        return processes

    def wait_until_gone(self, seconds: float = 60.0) -> None:
        wait_for(lambda: self.process.poll() is not None and not self.alive(), seconds, self.describe)

    def describe(self) -> str:
        return f"still alive: {[p.cmdline() for p in self.alive()]}\n{self.output.read_text()[-3000:]}"

    def find(self, *words: str) -> psutil.Process:
        """The living process whose command line holds all words, once there is one."""
        processes: list[psutil.Process] = []

        def look() -> bool:
            processes[:] = [p for p in self.alive() if all(word in " ".join(_cmdline(p)) for word in words)]
            return bool(processes)

        wait_for(look, 300, self.describe)
        return processes[0]

    def end(self) -> None:
        for process in self.alive():
            process.send_signal(signal.SIGKILL)
        self.process.wait()


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for(condition, seconds: float, describe=lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s; {describe()}"
        time.sleep(0.02)


def ledger(folder: Path) -> list[dict]:
    return read_jsonl(folder / ".dvc" / "plumb-state" / "ledger.jsonl")


