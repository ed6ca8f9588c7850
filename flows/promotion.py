"""The steps of a promotion, each of which can be killed and repeated: examine, register, verify, attach, move.

Nothing but `move` decides who serves. Plain functions over MLflow's client; flows/promote.py makes them a Prefect flow.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from flows import admission, evidence, package_files, registry
from flows.evidence import Evidence, Refused
from flows.registry import State, Version
from flows.registry_lock import hold
from flows.verifying import logit_difference
from tasks.config import PromoteConfig

DESCRIPTION_CHARACTERS = 5000
SHA256, COMMIT_ID = "[0-9a-f]{64}", "[0-9a-f]{7,64}"
FORGOTTEN_SECONDS = 86400.0
Verify = Callable[[Path, Path], float]
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What is to be promoted, on which evidence. `compared` is the champion at the gate; None when there was none."""

    candidate: str
    gate: str
    commit: str
    compared: int | None

    def __post_init__(self):
        for name, value, shape in (
            ("candidate", self.candidate, SHA256), ("gate", self.gate, SHA256), ("commit", self.commit, COMMIT_ID),
        ):  # fmt: skip
            if not re.fullmatch(shape, value):
                raise ValueError(f"{name} {value!r} is not a hash ({shape}); take it from what plumb align made")


@dataclass(frozen=True)
class Place:
    """Where a promotion works: MLflow's client, the project with its DVC cache, PLUMB_STATE, and the policy."""

    client: object
    root: Path
    state: Path
    config: PromoteConfig
    verify: Verify = logit_difference

    @property
    def name(self) -> str:
        return self.config.model_name

    def read(self) -> State:
        return registry.read(self.client, self.name)


@dataclass(frozen=True)
class Outcome:
    """How it ended: promoted, refused or waiting; `text` is one line for a person."""

    word: str
    version: int | None
    text: str


# --- 1: what is it, and may it be looked at? ---


def examine(place: Place, request: Request) -> Evidence:
    """Find the evidence and look at the package's files; writes nothing.

    Raises Refused for evidence that cannot promote, or files that may not be promoted; ValueError for what is missing.
    """
    found = evidence.find(place.client, request.candidate, request.gate)
    state = place.read()
    check_unspent(state, request)
    at_the_gate = evidence.compared_version(found.gate, state)
    if registry.name_of(at_the_gate) != registry.name_of(request.compared):
        raise Refused(
            f"the gate compared with champion {registry.name_of(at_the_gate)}, "
            f"this promotion names {registry.name_of(request.compared)}; ask for a new gate"
        )
    known = state.of_candidate(found.candidate, found.package_md5)
    if known is None or registry.VERIFIED not in known.tags:
        with _package(place, found) as package:
            _check_files(place, package, "the package")
    return found


def check_unspent(state: State, request: Request) -> None:
    """Raises Refused for evidence that a rollback has proved wrong."""
    for version in state.versions.values():
        if version.tags.get(registry.CANDIDATE) == request.candidate and request.gate in version.spent_gates:
            raise Refused(
                f"v{version.number} was promoted on gate {request.gate[:12]} and rolled back; ask for a new gate"
            )


def _check_files(place: Place, directory: Path, what: str) -> None:
    found = admission.objections(directory, place.config.allowed_architectures)
    if found:
        raise Refused(f"{what} may not be promoted: {'; '.join(found)}")


@contextlib.contextmanager
def _package(place: Place, found: Evidence) -> Iterator[Path]:
    """The packaged directory, in a folder beside the DVC cache, so that it can be linked."""
    with _working_folder(place.state) as folder:
        yield package_files.fetch(place.root, found.package_md5, folder / "package")


@contextlib.contextmanager
def _working_folder(state: Path) -> Iterator[Path]:
    parent = state / "promotions"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():  # by a process that was killed
        if time.time() - left.stat().st_mtime > FORGOTTEN_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


# --- 2: a version of the registry ---


def register(place: Place, found: Evidence) -> Version:
    """The version made from this candidate and package; made now if there is none. It becomes `challenger`."""
    client, name = place.client, place.name
    registry.ensure_model(client, name)
    with hold(client, name, place.state):
        state = registry.settle(client, name)
        version = state.of_candidate(found.candidate, found.package_md5)
        if version is None:
            tags = {registry.CANDIDATE: found.candidate, registry.PACKAGE: found.package_md5}
            made = client.create_model_version(
                name, found.model_uri, run_id=found.package_run, model_id=found.model_id, tags=tags
            )
            version = Version(name, int(made.version), made.source, tags)
        if state.aliases.get(registry.CHAMPION) != version.number:
            registry.point(client, state, registry.CHALLENGER, version)
        return version


# --- 3: is it the model that was packaged? ---


def verify(place: Place, found: Evidence, version: Version) -> float:
    """Load the version as serving does and compare its logits with the package's; returns the largest difference.

    Raises Refused when it is above the tolerance, or when what the registry holds may not even be loaded.
    """
    import mlflow

    if registry.VERIFIED in version.tags:
        return float(version.tags[registry.VERIFIED])
    with _working_folder(place.state) as folder:
        package = package_files.fetch(place.root, found.package_md5, folder / "package")
        (folder / "registered").mkdir()
        registered = Path(mlflow.artifacts.download_artifacts(version.uri, dst_path=str(folder / "registered")))
        _check_files(place, registered, f"what MLflow holds as {version.uri}")
        difference = place.verify(package, registered)
    if not difference <= place.config.logit_tolerance:
        raise Refused(
            f"{version.uri} is not the model that was packaged: its logits differ by {difference:g}, "
            f"more than promote.logit_tolerance {place.config.logit_tolerance:g}"
        )
    registry.write_tags(place.client, version, {registry.VERIFIED: f"{difference:g}"})
    return difference


# --- 4: why ---


def attach(place: Place, found: Evidence, version: Version, request: Request) -> None:
    """Write what the version rests on: as tags, as its description, and gate.json beside the package's run.

    A version that serves keeps what it was promoted on.
    """
    client, name = place.client, place.name
    with hold(client, name, place.state):
        state = registry.settle(client, name)
        if state.aliases.get(registry.CHAMPION) == version.number:
            return
        folder = f"evidence/{found.gate_hash[:12]}"
        if not client.list_artifacts(found.package_run, folder):
            client.log_dict(found.package_run, dict(found.gate), f"{folder}/gate.json")
        registry.write_tags(client, state.versions[version.number], _evidence_tags(found, request))
        text = summary(found, request)[:DESCRIPTION_CHARACTERS]
        client.update_model_version(name, str(version.number), text)


def _evidence_tags(found: Evidence, request: Request) -> dict[str, str]:
    return {
        registry.GATE: found.gate_hash,
        registry.VERDICT: str(found.gate["verdict"]),
        registry.COMMIT: request.commit,
        registry.COMPARED: registry.name_of(request.compared),
        registry.RUN: found.parent_run,
        registry.PACKAGE_RUN: found.package_run,
        registry.GATE_RUN: found.gate_run,
        registry.REPORT: found.report,
    }


def summary(found: Evidence, request: Request) -> str:
    """The verdict, its reasons and the report, in Markdown: for the version's page and for whoever must approve."""
    lines = [
        f"Verdict **{found.gate['verdict']}**, against {found.gate.get('reference')} "
        f"(champion {registry.name_of(request.compared)}).",
        "",
        *(f"- {reason}" for reason in found.gate.get("reasons", [])),
        "",
        f"Report: {found.report}",
        "",
        f"Candidate {request.candidate[:12]}, gate {request.gate[:12]}, commit {request.commit[:12]}.",
    ]
    return "\n".join(lines)


# --- a person's word, where the policy asks for one ---


@dataclass(frozen=True)
class Approval:
    """A person's answer to one gate."""

    approve: bool
    comment: str = ""
    by: str = ""


def recorded_approval(version: Version, gate: str) -> Approval | None:
    """The answer that was given for this gate, if there was one."""
    answer = json.loads(version.tags.get(registry.APPROVAL, "{}"))
    return Approval(answer["approve"], answer["comment"], answer["by"]) if answer.get("gate") == gate else None


def record_approval(place: Place, version: Version, gate: str, answer: Approval) -> None:
    if recorded_approval(version, gate) != answer:
        text = json.dumps({"gate": gate, "at": registry.now(), **asdict(answer)}, sort_keys=True)
        registry.write_tags(place.client, version, {registry.APPROVAL: text})


def approve(
    place: Place, version: Version, gate: str, given: Approval | None, ask: Callable[[Version], Approval]
) -> None:
    """Have a person's word on this gate: `given` now, or before, or asked for. Asked once, also when the process dies.

    Raises Refused when the word is no.
    """
    version = place.read().versions[version.number]
    answer = given or recorded_approval(version, gate) or ask(version)
    record_approval(place, version, gate, answer)
    if not answer.approve:
        who = f" by {answer.by}" if answer.by else ""
        raise Refused(f"v{version.number} was declined{who}: {answer.comment or 'no comment'}")


# --- 5: who serves ---


def move(place: Place, version: Version, request: Request) -> Outcome:
    """Make the version champion if the one it was compared with still is. Repeated, it says the same again.

    Raises Refused when somebody else is champion by now, or the evidence was spent meanwhile.
    """
    client, name = place.client, place.name
    with hold(client, name, place.state) as lock:
        state = registry.settle(client, name)
        champion, version = state.champion, state.versions[version.number]
        if registry.JOURNAL in state.tags:
            raise Refused(f"a rollback of {name} was interrupted ({state.tags[registry.JOURNAL]}); finish it: plumb rollback")
        check_unspent(state, request)
        if champion is not None and champion.number == version.number:
            return _promoted(version)
        if registry.name_of(champion) != registry.name_of(request.compared):
            raise Refused(
                f"champion is {registry.name_of(champion)}, but v{version.number} was compared with "
                f"{registry.name_of(request.compared)}; ask for a new gate"
            )
        # Before the alias: a champion always names the one to return to.
        registry.write_tags(client, version, {registry.REPLACES: registry.name_of(champion)})
        lock.check()
        registry.point(client, state, registry.CHAMPION, version)
        state = registry.settle(client, name)
        if state.aliases[registry.CHAMPION] != version.number:
            raise Refused(f"somebody else made {registry.name_of(state.champion)} champion meanwhile; ask for a new gate")
        return _promoted(state.versions[version.number])


def _promoted(version: Version) -> Outcome:
    replaced = registry.name_of(version.replaces)
    after = "the first champion" if replaced == registry.NOBODY else f"it replaces {replaced}"
    return Outcome("promoted", version.number, f"{version.name}: v{version.number} is champion ({after})")


def note_refusal(place: Place, request: Request, error: Refused) -> Outcome:
    """Write a refusal on the version that it concerns, unless it serves; returns it as the outcome."""
    state = place.read()
    versions = [v for v in state.versions.values() if v.tags.get(registry.CANDIDATE) == request.candidate]
    for version in versions[-1:]:
        if state.aliases.get(registry.CHAMPION) != version.number:
            registry.write_tags(place.client, version, {registry.DECISION: f"refused: {error}"[:DESCRIPTION_CHARACTERS]})
    return Outcome("refused", versions[-1].number if versions else None, str(error))


def run(
    place: Place,
    request: Request,
    given: Approval | None,
    ask: Callable[[Evidence, Version], Approval],
    call: Callable[[str, Callable[[], T]], T] = lambda name, step: step(),
) -> Outcome:
    """All steps in their order.

    given: an approval that somebody gave already. ask: for one, where the policy wants it and nobody did. call: runs a step under its name (Prefect makes it a task).
    """
    try:
        found = call("examine", lambda: examine(place, request))
        version = call("register", lambda: register(place, found))
        call("verify", lambda: verify(place, found, version))
        call("attach evidence", lambda: attach(place, found, version, request))
        if place.config.policy == "approval":
            approve(place, version, request.gate, given, lambda fresh: ask(found, fresh))
        return call("move champion", lambda: move(place, version, request))
    except Refused as error:
        return note_refusal(place, request, error)
