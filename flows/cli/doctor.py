"""`plumb doctor`: are this machine and this project ready, and what to do about each finding.

Imports neither torch nor MLflow: what looks at models and data is a process of its own.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from flows import environment
from flows.history import experiments
from flows.hosting import login, servers, tracking_server
from flows.redact import without_login

DISK_BYTES = 3e9
MEMORY_BYTES = 3e9


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `level` is ok, note (works, worth knowing) or problem; `remedy` says what to do."""

    level: str
    subject: str
    text: str
    remedy: str = ""


def examine(root: Path) -> list[Finding]:
    """All findings; a check that itself fails is a problem, never a traceback."""
    checks: tuple[Callable[[Path], Iterator[Finding]], ...] = (
        check_python, check_versions, check_disk, check_memory, check_gpu, check_params, check_state, check_data,
        check_remotes, check_servers, check_tracking, check_preflight,
    )  # fmt: skip
    findings = []
    for check in checks:
        try:
            findings += list(check(root))
        except Exception as error:  # noqa: BLE001
            text = " ".join(str(error).split()) or type(error).__name__
            findings.append(Finding("problem", check.__name__.removeprefix("check_"), text))
    return findings


def _unless(problem: bool, subject: str, text: str, remedy: str) -> Finding:
    return Finding("problem", subject, text, remedy) if problem else Finding("ok", subject, text)


def check_python(root: Path) -> Iterator[Finding]:
    old, text = sys.version_info < (3, 11), ".".join(map(str, sys.version_info[:3]))
    yield _unless(old, "python", text, "install Python 3.11 or newer and run make again")
    if shutil.which("git") is None:
        yield Finding("problem", "git", "not found", "install git")


def check_versions(root: Path) -> Iterator[Finding]:
    """What is installed against constraints.txt."""
    file = root / "constraints.txt"
    if not file.exists():
        yield Finding("note", "versions", "no constraints.txt to compare with")
        return
    wrong, absent, same = [], [], 0
    for name, wanted in re.findall(r"^([A-Za-z0-9_.\-]+)==([^\s;#]+)", file.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            installed = version(name)
        except PackageNotFoundError:
            absent.append(name)
            continue
        if installed.partition("+")[0] == wanted.partition("+")[0]:
            same += 1
        else:
            wrong.append(f"{name} {installed} (pinned {wanted})")
    if wrong:
        remedy = "pip install -c constraints.txt -e . in the .venv, or make again"
        yield Finding("problem", "versions", ", ".join(wrong), remedy)
    if absent:
        yield Finding("note", "versions", f"not installed: {', '.join(absent)}", "fine if you do not use them")
    yield Finding("ok", "versions", f"{same} packages as pinned")


def check_disk(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free
    remedy = "free some space, or move the cache: dvc cache dir PATH"
    yield _unless(free < DISK_BYTES, "disk", f"{free / 1e9:.1f} GB free", remedy)


def check_memory(root: Path) -> Iterator[Finding]:
    free = psutil.virtual_memory().available
    remedy = "close other programs, or lower *.rows_per_batch in params.yaml"
    yield _unless(free < MEMORY_BYTES, "memory", f"{free / 1e9:.1f} GB available", remedy)
    yield Finding("ok", "cores", f"{environment.usable_cores()} usable")


def check_gpu(root: Path) -> Iterator[Finding]:
    if shutil.which("nvidia-smi") is None:
        yield Finding("ok", "gpu", "none: stages run on the CPU, which is enough for the default params")
        return
    query = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    if answer.returncode == 0:
        yield Finding("ok", "gpu", "; ".join(answer.stdout.split("\n")).strip("; "))
    else:
        yield Finding("problem", "gpu", "nvidia-smi fails", "check the driver; without it stages run on the CPU")


def check_params(root: Path) -> Iterator[Finding]:
    from flows.settings import read_settings

    try:
        read_settings(root)
    except ValueError as error:
        yield Finding("problem", "params", str(error), "edit params.yaml")
        return
    yield Finding("ok", "params", "params.yaml is complete")


def check_state(root: Path) -> Iterator[Finding]:
    state = environment.state_dir(root)
    probe = state / f".doctor-{os.getpid()}"
    try:
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        remedy = "make it writable, or set PLUMB_STATE to a folder that is"
        yield Finding("problem", "state", f"{state}: {error.strerror}", remedy)
        return
    yield Finding("ok", "state", str(state))


def check_data(root: Path) -> Iterator[Finding]:
    from flows.storage import data

    missing = data.missing(root)
    if missing:
        names = ", ".join(str(pointer.relative_to(root)) for pointer in missing)
        yield Finding("note", "data", f"not here yet: {names}", "plumb align pulls it")
    else:
        yield Finding("ok", "data", f"{len(data.pointers(root))} tracked inputs are here")


def check_remotes(root: Path) -> Iterator[Finding]:
    """Whether each DVC remote answers; one that is only pushed to may not exist yet."""
    from dvc.repo import Repo

    from flows.storage import data

    repo = Repo(str(root))
    default = repo.config["core"].get("remote")
    if not default:
        yield Finding("problem", "remote", "no default DVC remote", "dvc remote default NAME")
    for name, remote in repo.config["remote"].items():
        url = str(remote.get("url", ""))
        try:
            odb = repo.cloud.get_remote_odb(name)
            # In a bucket an empty prefix does not exist, but whoever answers that is there.
            there = odb.fs.exists(odb.path) or odb.fs.protocol != "local" or data.local_folder(odb).is_dir()
        except Exception as error:  # noqa: BLE001
            there, url = False, f"{url}: {' '.join(str(error).split())[:200]}"
        if there:
            yield Finding("ok", "remote", f"{name} at {url}")
        elif name == default:
            remedy = "check the address, network and credentials"
            yield Finding("problem", "remote", f"{name} at {url} is not reachable", remedy)
        else:
            yield Finding("note", "remote", f"{name} at {url} is not there yet", "the first dvc push makes it")


def check_servers(root: Path) -> Iterator[Finding]:
    url = servers.running_prefect(root)
    if url:
        remedy = "start it with plumb up, or unset PREFECT_API_URL"
        there = servers.answers(f"{url}/health")
        yield _server("prefect", url, there, lambda: login.check_prefect(url), remedy)
    else:
        yield Finding("ok", "prefect", "no server runs: plumb align starts a private one; plumb up shows the pages")


def check_tracking(root: Path) -> Iterator[Finding]:
    """Whether MLflow can take what a run will log."""
    from flows.settings import read_sections

    uri, experiment = os.environ["MLFLOW_TRACKING_URI"], read_sections(root, "tracking")["tracking"].experiment
    there = not uri.startswith("http") or login.get_mlflow("/health")[0] == tracking_server.OK
    remedy = "start it, or unset MLFLOW_TRACKING_URI"
    yield _server("mlflow", uri, there, lambda: tracking_server.check(experiment), remedy)
    old = experiments.moved_from(experiment)
    if old:
        text = f"the project was moved: {experiment!r} keeps its artifacts in {old}"
        yield Finding("note", "mlflow", text, "plumb align goes on in a new experiment of that name")


def _server(subject: str, url: str, there: bool, check: Callable[[], None], remedy: str) -> Finding:
    shown = without_login(url)
    if not there:
        return Finding("problem", subject, f"{shown} does not answer", remedy)
    try:
        check()
    except ValueError as error:
        problem, _, remedy = str(error).partition("; ")
        return Finding("problem", subject, problem, remedy)
    return Finding("ok", subject, f"{shown} answers" if url.startswith("http") else shown)


def check_preflight(root: Path) -> Iterator[Finding]:
    """What would end a run late. Each judge across a network is asked one question, which the ledger counts."""
    from flows.alignment import preflight
    from flows.costs.ledger import Ledger
    from flows.graph.running import Processes
    from flows.graph.stages import Graph
    from flows.settings import read_settings
    from flows.storage import data

    if not preflight.applies(root):
        return
    if data.missing(root):
        yield Finding("note", preflight.NAME, "not run: the data is not here yet", "plumb align pulls it and runs it")
        return
    processes, state = Processes(), environment.state_dir(root)
    limit, roles = read_settings(root).stage_seconds, set(preflight.ROLE_OF.values())
    try:
        result = preflight.run(root, state, preflight.parts_of(root, Graph(root)), roles, True, limit, processes)
    finally:
        processes.stop()
    Ledger(state).append(result.cost)
    for one in result.findings:
        yield Finding(one.level, preflight.NAME, f"{one.subject}: {one.text}", one.remedy)
    if not result.problems:
        yield Finding("ok", preflight.NAME, "nothing would end a run late")


def show(findings: list[Finding], console) -> None:
    """Print one line per finding, and what to do under those that need something."""
    from rich.text import Text

    marks = {"ok": ("✓", "green"), "note": ("·", "yellow"), "problem": ("✗", "bold red")}
    for finding in findings:
        mark, style = marks[finding.level]
        console.print(Text.assemble((f"{mark} ", style), f"{finding.subject:<9} {finding.text}"), soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"            → {finding.remedy}"), soft_wrap=True)
