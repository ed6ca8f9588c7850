"""The steps of a retraining, as plain functions: flows/retrain.py makes them a Prefect flow.

Each can be killed and repeated: intake by its own ledger, training from the cache and its checkpoints, logging and
promotion by content hashes; the decision is written last.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows import environment, git
from flows.alignment import local
from flows.alignment.session import Session, Share
from flows.alignment.tracking import Tracker
from flows.graph import stage_inputs
from flows.graph.running import StageError
from flows.graph.stages import Graph
from flows.history import evidence, registry
from flows.schedule.decisions import NOBODY
from flows.hosting import tracking_server
from flows.serving import champion
from flows.serving.request import Request
from flows.settings import Settings, read_sections, read_settings, settings_in
from flows.storage import commit_clone, data, gc_lock, shared_runs
from tasks.common import file_lock

Listener = Callable[[Session], Any]
SHARED_COMMIT = "refs/plumb/commits/"
KEPT_CLONES = 3  # of retrainings: this one, and two to look at


@dataclass(frozen=True)
class Champion:
    """Who serves when a retraining starts, by packaged md5, or "none"; align: the run in MLflow that made it."""

    package: str
    align: str = ""


@dataclass(frozen=True)
class Errand:
    """What is to be trained: a commit with changed params, compared with the champion of this packaged md5, or "none".

    anchors: ask the judges theirs first.
    """

    commit: str
    changes: dict[str, Any]
    champion: str
    anchors: bool


@dataclass(frozen=True)
class Made:
    """What align left: the run in MLflow, the gate's document, and what a promotion is to be asked for."""

    align: str
    gate: Mapping[str, Any]
    package: str
    request: Request


def champion_now(client, name: str) -> Champion:
    """The champion, looked up once: from here on it is a content hash.

    Raises ValueError for one that is not ours: then nobody could tell whether a gate compared with it.
    """
    version = registry.read(client, name).champion
    if version is None:
        return Champion(NOBODY)
    if registry.PACKAGE not in version.tags:
        raise ValueError(
            f"{version.uri} is champion without the tag {registry.PACKAGE}, so no gate can compare with it; "
            "promote a packaged candidate first: plumb promote"
        )
    return Champion(version.tags[registry.PACKAGE], version.tags.get(registry.RUN, ""))


@contextlib.contextmanager
def my_turn(state: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold retraining on this PLUMB_STATE; others wait."""
    with file_lock.held(state / "retrain.lock", busy=lambda _: waiting()), gc_lock.run_under_way(state):
        yield


def resolve_commit(root: Path, wanted: str | None) -> str:
    """The commit that is trained: `wanted`, fetched first where it is a branch of origin, else the one checked out.

    One that another machine shared is fetched, too. Raises ValueError where git knows no such commit.
    """
    if wanted and wanted.startswith("origin/"):
        git.git(root, "fetch", "--quiet", "origin")
    name = wanted or "HEAD"
    if not _knows(root, name) and git.answers(root, "remote", "get-url", "origin"):
        git.answers(root, "fetch", "--quiet", "origin", f"{SHARED_COMMIT}{name}")
    try:
        return git.git(root, "rev-parse", "--verify", f"{name}^{{commit}}")
    except git.GitError:
        raise ValueError(
            f"git knows no commit {name!r} in {root}; commit the project, or name another (commit)"
        ) from None


def _knows(root: Path, name: str) -> bool:
    return git.answers(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def keep_commit(root: Path, commit: str) -> None:
    """Keep git from clearing a commit away that models name as their code: one made by intake may be on no branch."""
    git.git(root, "update-ref", f"{SHARED_COMMIT}{commit}", commit)


def share_commit(root: Path, commit: str) -> None:
    """Push a commit to origin, where other machines find it by its id; one machine alone needs none."""
    if git.answers(root, "remote", "get-url", "origin"):
        git.git(root, "push", "--quiet", "origin", f"{commit}:{SHARED_COMMIT}{commit}")


def inbox_of(root: Path) -> str | None:
    """intake.inbox of params.yaml; None where nothing is taken in."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")) or {}
    return read_sections(root, "intake")["intake"].inbox if "intake" in params else None


def open_clone(root: Path, errand: Errand) -> Path:
    """The clone in which the errand is run: its commit, its params, and its champion where the graph reads one."""
    changes = _as_text(errand.changes)
    pointer = champion_pointer(root, errand)
    state = environment.state_dir(root)
    replaced = {champion.POINTER.as_posix(): pointer} if pointer else {}
    place = commit_clone.open_commit(root, state, errand.commit, changes, replaced)
    commit_clone.forget_commits(state, KEPT_CLONES)
    return place


def settings_of(root: Path, commit: str, changes: Mapping[str, Any]) -> Settings:
    """What the run of a commit with changed params goes by, in all that it does. Raises as `open_clone`."""
    return settings_in(commit_clone.params_of(root, commit, _as_text(changes)), "params.yaml")


def _as_text(changes: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in changes.items()}


def champion_pointer(root: Path, errand: Errand) -> str | None:
    """data/champion.dvc with the hash of who serves; None where the graph has no such file, or nobody serves."""
    if errand.champion == NOBODY or not git.answers(root, "cat-file", "-e", f"{errand.commit}:./{champion.POINTER}"):
        return None
    remote = shared_runs.remote_of(root)
    where = {"remote": remote} if remote is not None and data.has_remote(root, remote) else {}
    return champion.naming(git.git(root, "show", f"{errand.commit}:./{champion.POINTER}"), errand.champion, **where)


def inputs_of(place: Path) -> str:
    """The hash of data, code and the stages' params in a clone."""
    return stage_inputs.inputs_hash(stage_inputs.inputs(place))


def bring_up_to_date(place: Path, anchors: bool, listener: Listener, share: Share | None = None) -> str:
    """Align in the clone and log it; returns the id of the run in MLflow.

    anchors: ask the judges theirs first. listener: makes one that is told how the session goes. share: of the graph.
    Raises StageError, or another error of one line, when a stage failed or MLflow did not, or could not, take it all.
    """
    settings, state = read_settings(place), environment.state_dir(place)
    tracking_server.check(settings.tracking.experiment)
    # Waits: stages that a retraining sent to a machine go on when it is killed, and the next one sends them again.
    # DVC names files relative to where it is asked.
    with local.only_one(place, wait=True), contextlib.chdir(place):
        local.heal(place)
        session = Session(place, state, Graph(place), settings, environment.usable_cores(), [], anchors, share)
        tracker = Tracker(session)
        try:
            _run(session, tracker, listener)
            return tracker.parent
        finally:
            session.processes.stop()


def _run(session: Session, tracker: Tracker, listener: Listener) -> None:
    from flows.align import align

    state, finished = local.run_flow(align, session, tracker, listener(session))
    if not finished:
        raise session.lasting_errors[0] if session.lasting_errors else state.result(raise_on_failure=False)
    if tracker.problems:
        raise StageError("MLflow", "transient", f"{tracker.problems[0]}; run it again", session.state)


def what_was_made(place: Path, align_run: str, client, model: str) -> Made:
    """For the registered model of this name: gate, package and what to ask a promotion for.

    Raises ValueError where gate or package are missing.
    """
    from flows.serving.promoting import current_request

    request = current_request(place, client, model)
    gate = json.loads((place / evidence.GATE_FILE).read_text(encoding="utf-8"))
    (package,) = [out.md5 for out in Graph(place).stages["package"].outs if out.kind == "out"]
    return Made(align_run, gate, package or "", request)


def meet_remote(place: Path, remote: str | None) -> None:
    """Fetch the data, and what the cache of runs at `remote` knows; from then on stages are sought there."""
    data.pull(place)
    if remote is not None and data.has_remote(place, remote):
        data.pull_runs(place, remote)
        commit_clone.set_default_remote(place, remote)


def push(place: Path, remote: str | None) -> str:
    """Push cache and run-cache, so that another machine finds all of it; returns what was done, in one line.

    Raises PushError naming the remote.
    """
    if remote is None or not data.has_remote(place, remote):
        return f"nothing was pushed: there is no DVC remote {remote!r} (intake.remote)"
    return f"{data.push_all(place, remote)} files pushed to the DVC remote {remote!r}"
