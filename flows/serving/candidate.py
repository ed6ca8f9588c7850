"""From a candidate to a version of the registry that is known to be what the gate judged. Nobody serves by it yet."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flows.history import evidence, experiments, looks, registry
from flows.history.evidence import Evidence, Refused
from flows.history.registry import State, Version
from flows.hosting import servers
from flows.serving import admission, package_files
from flows.serving.registry_lock import hold
from flows.serving.request import Place, Request

DESCRIPTION_CHARACTERS = 5000
FORGOTTEN_SECONDS = 86400.0


def examine(place: Place, request: Request) -> Evidence:
    """Find the evidence and look at the package's files; writes nothing.

    Raises Refused for evidence that cannot promote, or files that may not be promoted; ValueError for what is missing.
    """
    basis = evidence.find(place.client, request.candidate, request.gate, servers.mlflow_address())
    state = place.read()
    check_unspent(state, request)
    at_the_gate = evidence.compared_version(basis.gate, state)
    if registry.name_of(at_the_gate) != registry.name_of(request.compared):
        raise Refused(
            f"the gate compared with champion {registry.name_of(at_the_gate)}, "
            f"this promotion names {registry.name_of(request.compared)}; ask for a new gate"
        )
    spent = looks.objection(place.client, place.name, basis.gate)
    if spent:
        raise Refused(spent)
    known = state.of_candidate(basis.candidate, basis.package_md5)
    if known is None or registry.VERIFIED not in known.tags:
        with _working_folder(place.state) as folder:
            package = package_files.fetch(place.root, basis.package_md5, folder / "package")
            _check_files(place, package, "the package")
    return basis


def _check_files(place: Place, directory: Path, what: str) -> None:
    objections = admission.objections(directory, place.config.allowed_architectures)
    if objections:
        raise Refused(f"{what} may not be promoted: {'; '.join(objections)}")


@contextlib.contextmanager
def _working_folder(state: Path) -> Iterator[Path]:
    """A folder beside the DVC cache, so that files can be linked."""
    parent = state / "promotions"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():  # by a process that was killed
        if time.time() - left.stat().st_mtime > FORGOTTEN_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def register(place: Place, basis: Evidence) -> Version:
    """The version made from this candidate and package; made now if there is none. It becomes `challenger`."""
    client, name = place.client, place.name
    registry.ensure_model(client, name)
    with hold(client, name, place.state):
        state = registry.settle(client, name)
        version = state.of_candidate(basis.candidate, basis.package_md5)
        if version is None:
            tags = {registry.CANDIDATE: basis.candidate, registry.PACKAGE: basis.package_md5}
            made = client.create_model_version(
                name, basis.model_uri, run_id=basis.package_run, model_id=basis.model_id, tags=tags
            )
            version = Version(name, int(made.version), made.source, tags)
        if state.aliases.get(registry.CHAMPION) != version.number:
            registry.point(client, state, registry.CHALLENGER, version)
        return version


def verify(place: Place, basis: Evidence, version: Version) -> float:
    """Load the version as serving does and compare its logits with the package's; returns the largest difference.

    Raises Refused when it is above the tolerance, or when what the registry holds may not even be loaded.
    """
    import mlflow

    if registry.VERIFIED in version.tags:
        return float(version.tags[registry.VERIFIED])
    with _working_folder(place.state) as folder:
        package = package_files.fetch(place.root, basis.package_md5, folder / "package")
        registered = registry.local_files(place.client, version)
        if registered is None:
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


def attach(place: Place, basis: Evidence, version: Version, request: Request) -> None:
    """Write what the version rests on: as tags, as its description, and gate.json beside the package's run.

    A version that serves keeps what it was promoted on.
    """
    client, name = place.client, place.name
    with hold(client, name, place.state):
        state = registry.settle(client, name)
        if state.aliases.get(registry.CHAMPION) == version.number:
            return
        experiments.store_json(client, basis.package_run, evidence.copy_path(basis.gate_hash), basis.gate)
        registry.write_tags(client, state.versions[version.number], _evidence_tags(basis, request))
        text = summary(basis, request)[:DESCRIPTION_CHARACTERS]
        client.update_model_version(name, str(version.number), text)


def _evidence_tags(basis: Evidence, request: Request) -> dict[str, str]:
    return {
        registry.GATE: basis.gate_hash,
        registry.VERDICT: str(basis.gate["verdict"]),
        registry.COMMIT: request.commit,
        registry.COMPARED: registry.name_of(request.compared),
        registry.RUN: basis.parent_run,
        registry.PACKAGE_RUN: basis.package_run,
        registry.GATE_RUN: basis.gate_run,
        registry.REPORT: basis.report,
    }


def summary(basis: Evidence, request: Request) -> str:
    """The verdict, its reasons and the report, in Markdown: for the version's page and for whoever must approve."""
    serving = "nobody serves yet" if request.compared is None else f"champion is {registry.name_of(request.compared)}"
    report = f"[report.html]({basis.report})" if basis.report.startswith("http") else basis.report
    lines = [
        f"Verdict **{basis.gate['verdict']}**, against {basis.gate.get('reference')} ({serving}).",
        "",
        *(f"- {reason}" for reason in basis.gate.get("reasons", [])),
        "",
        f"Report: {report}",
        "",
        f"Candidate {request.candidate[:12]}, gate {request.gate[:12]}, commit {request.commit[:12]}.",
    ]
    return "\n".join(lines)


def check_unspent(state: State, request: Request) -> None:
    """Raises Refused for evidence that a rollback has proved wrong."""
    for version in state.versions.values():
        if version.tags.get(registry.CANDIDATE) == request.candidate and request.gate in version.spent_gates:
            raise Refused(
                f"v{version.number} was promoted on gate {request.gate[:12]} and rolled back; ask for a new gate"
            )
