"""Run one stage: `dvc repro -s STAGE` under a supervisor, with a log, a time limit and a verdict on failure."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.costs.calls import forget_calls
from flows.costs.gpu_use import GpuUse, forget_use, read_use
from flows.costs.ledger import Entry
from flows.graph import supervise
from flows.redact import redact

TIMEOUT_ADVICE = "raise flow.stage_timeout_minutes in params.yaml, or the stage's meta.timeout in dvc.yaml"

KINDS = ("config", "data", "transient", "diverged", "disk", "internal")
POLL_SECONDS = 0.05


class StageError(Exception):
    """A stage failed. `kind` says whether trying again can help: only `transient` and `killed` can pass."""

    def __init__(self, stage: str, kind: str, message: str, log: Path):
        super().__init__(f"{stage}: {message}")
        self.stage, self.kind, self.message, self.log = stage, kind, message, log

    @property
    def may_pass(self) -> bool:
        return self.kind in ("transient", "killed")


class Stopped(BaseException):
    """The flow is being stopped; its stages were ended. Not an Exception, so that nothing retries it."""


@dataclass(frozen=True)
class StageRun:
    """How one stage went: `outcome` is ran, restored (from the cache) or current; peak memory in bytes."""

    stage: str
    version: str
    outcome: str
    seconds: float = 0.0
    peak_bytes: int = 0
    started: float = 0.0
    gpu: GpuUse = field(default_factory=GpuUse)


class Processes:
    """The stage processes of this flow, so that all of them can be ended at once."""

    def __init__(self):
        self._sessions: set[int] = set()
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def add(self, session: int) -> None:
        with self._lock:
            self._sessions.add(session)

    def end(self, session: int) -> None:
        """End what is left of a session and forget it."""
        end_session(session)
        with self._lock:
            self._sessions.discard(session)

    def stop(self) -> None:
        """End every stage and refuse new ones."""
        self.stopping.set()
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            end_session(session)


def end_session(session: int) -> None:
    """End every process of a session; by its process group where there is no /proc."""
    if Path("/proc/self/stat").exists():
        supervise.end_session(session)
        return
    try:
        os.killpg(session, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def folder(state: Path, stage: str, version: str | None) -> Path:
    """Where the log, the live curve and the error of a stage at this version are kept."""
    return state / "runs" / f"{stage}-{(version or 'unknown')[:16]}"


def run_stage(
    root: Path, stage: str, version: str, place: Path, timeout: float, processes: Processes, pull: bool = False
) -> StageRun:
    """Make the outputs of `stage` current.

    place: the folder for log.txt, live.jsonl and error.json. pull: fetch what the remote has before it is made.
    Raises StageError; Stopped when the flow is being stopped. No process of the stage is left in either case.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", *(["--pull"] if pull else []), stage]
    started = time.time()
    text, peak = run_command(command, root, stage, place, timeout, processes)
    return StageRun(stage, version, _outcome(text), time.time() - started, peak, started, read_use(place))


def run_command(
    command: list[str], root: Path, name: str, place: Path, timeout: float, processes: Processes
) -> tuple[str, int]:
    """(what the command printed, peak memory of its largest process in bytes).

    place: the folder for log.txt and error.json, where the command leaves why it failed. Raises as `run_stage` does.
    """
    place.mkdir(parents=True, exist_ok=True)
    log, error_file = place / "log.txt", place / "error.json"
    error_file.unlink(missing_ok=True)
    forget_calls(place)
    forget_use(place)
    with log.open("ab") as output:
        offset = output.tell()
        code, peak = _supervised(command, root, stage_environment(place), output, place, timeout, processes)
    text = _without_secrets(log, offset)
    if code is None:
        raise StageError(name, "internal", f"stopped after {timeout:.0f} s; {TIMEOUT_ADVICE}", log)
    if code != 0:
        raise _failure(name, code, error_file, text, log)
    return text, peak


def run_check(
    module: str, arguments: list[str], root: Path, name: str, place: Path, timeout: float, processes: Processes
) -> tuple[dict[str, Any], Entry]:
    """The document that `python -m MODULE` leaves, without secrets, and what asking for it cost.

    Its judges' calls are in it. Raises as `run_stage` does where it leaves none.
    """
    out = place / f"{os.getpid()}.partial"
    out.unlink(missing_ok=True)
    started, peak = time.time(), 0
    try:
        _, peak = run_command(
            [sys.executable, "-m", module, "--out", str(out), *arguments], root, name, place, timeout, processes
        )
    except StageError:
        if not out.exists():
            raise
    document = json.loads(redact(out.read_text(encoding="utf-8")))
    out.unlink()
    usage = {key: document[key] for key in ("calls", "input_tokens", "output_tokens")}
    cost = Entry(
        name, "", round(started, 3), round(time.time() - started, 3), peak, **usage,
        money=document["cost"], spent=document["cost"], asked=document["calls"],
    )  # fmt: skip
    return document, cost


def _without_secrets(log: Path, offset: int) -> str:
    """What the stage wrote; a secret that it printed is taken out of its log."""
    text = log.read_bytes()[offset:].decode("utf-8", "replace")
    clean = redact(text)
    if clean != text:
        with log.open("r+b") as output:
            output.truncate(offset)
            output.seek(offset)
            output.write(clean.encode())
    return clean


def stage_environment(place: Path) -> dict[str, str]:
    """The environment of a stage: this interpreter first on PATH, one thread unless told, where to report."""
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    # Independent stages run side by side; a thread per core in each would make all of them slower.
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment |= {"PLUMB_LIVE": str(place), "PLUMB_ERROR_FILE": str(place / "error.json")}
    environment |= {"PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "true"}
    return environment


def supervised_command(command: list[str]) -> list[str]:
    """`command` under the supervisor; to be started with start_new_session=True."""
    return [sys.executable, "-S", supervise.__file__, str(os.getpid()), *command]


def _supervised(command, cwd, environment, output, place, timeout, processes) -> tuple[int | None, int]:
    """Exit code (None: out of time) and peak memory of the largest process, in bytes.

    Time in which the stage waits for a GPU that another holds is not counted.
    """
    if processes.stopping.is_set():
        raise Stopped
    process = subprocess.Popen(
        supervised_command(command),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    processes.add(process.pid)
    deadline = time.monotonic() + timeout
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > deadline and time.monotonic() > deadline + read_use(place).waited:
                return None, 0
            if processes.stopping.is_set():
                raise Stopped
            time.sleep(POLL_SECONDS)
    finally:
        processes.end(process.pid)
        if process.returncode is None:
            process.wait()
    if processes.stopping.is_set():
        raise Stopped
    unit = 1 if sys.platform == "darwin" else 1024
    return process.returncode, usage.ru_maxrss * unit


def _outcome(text: str) -> str:
    if "is cached - skipping run" in text:
        return "restored"
    return "current" if "didn't change, skipping" in text else "ran"


def _failure(stage: str, code: int, error_file: Path, text: str, log: Path) -> StageError:
    try:
        report = json.loads(_without_secrets(error_file, 0))
        kind = report["kind"] if report["kind"] in KINDS else "internal"
        return StageError(stage, kind, str(report["message"]), log)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    # Without a report, dvc's own words are all there is: its exit code is 255 whatever happened.
    match = re.search(r"exited with (-?\d+)", text)
    stage_code = int(match.group(1)) if match else 0
    signals = [-number if number < 0 else number - 128 for number in (stage_code, code) if number < 0 or number > 128]
    if any(0 < number < 64 for number in signals):
        return StageError(stage, "killed", f"killed by signal {signals[0]}", log)
    if "No space left on device" in text:
        return StageError(stage, "disk", "no space left on the device; free some and run again", log)
    lines = [line for line in text.split("\n") if line.startswith("ERROR:")]
    message = lines[-1].removeprefix("ERROR:").strip() if lines else f"exit code {code}"
    return StageError(stage, "internal", message, log)
