"""The model registry: what a version carries, who is champion, and the few writes that change either.

MLflow's aliases say who serves (`champion`) and who was registered last (`challenger`); tags on a version say what it
rests on. An alias moves in one write, so there is never more than one champion, and once there is one there always is:
nothing here takes the alias away.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.history import experiments

CHAMPION, CHALLENGER = "champion", "challenger"

# --- tags of a version ---
CANDIDATE = "plumb.candidate_hash"  # content hash of the policy that the gate judged
PACKAGE = "plumb.package_md5"  # what DVC knows the packaged directory by
GATE, VERDICT = "plumb.gate_hash", "plumb.verdict"
COMMIT, COMPARED = "plumb.commit", "plumb.compared"
RUN, PACKAGE_RUN, GATE_RUN = "plumb.run_id", "plumb.package_run_id", "plumb.gate_run_id"
REPORT = "plumb.report"
VERIFIED = "plumb.verified"  # largest difference between its logits and the package's
APPROVAL = "plumb.approval"  # a person's answer, as JSON, with the gate's hash that it was given for
DECISION = "plumb.decision"  # what the last promotion of this version came to: promoted, or refused and why
PROMOTED = "plumb.promoted_at"
REPLACES = "replaces"  # v3, or "none" for the first champion
ROLLED_BACK = "rolled_back"  # when; gone once the version is promoted by other evidence
SPENT = "plumb.spent_gates"  # hashes of gates that this version was rolled back from, by comma
# --- tags of the registered model ---
JOURNAL = "plumb.rollback"  # "v3 to v2" while a rollback is under way

NOBODY = "none"
URI = re.compile(r"models:/(?P<name>[\w.\-]+)(?:@(?P<alias>[\w\-]+)|/(?P<number>[1-9]\d*))")


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    name: str
    number: int
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"

    @property
    def replaces(self) -> int | None:
        """The version that was champion before this one; None for the first."""
        return number_of(self.tags.get(REPLACES, NOBODY))

    @property
    def spent_gates(self) -> list[str]:
        """Hashes of the gates that a rollback proved wrong."""
        return [gate for gate in self.tags.get(SPENT, "").split(",") if gate]


@dataclass(frozen=True)
class State:
    """The registry at one moment."""

    name: str
    versions: Mapping[int, Version]
    aliases: Mapping[str, int]
    tags: Mapping[str, str]

    @property
    def champion(self) -> Version | None:
        return self.versions.get(self.aliases.get(CHAMPION, 0))

    def of_candidate(self, candidate: str, package: str) -> Version | None:
        """The version made from the policy with this content hash, packaged into exactly these bytes."""
        wanted = {CANDIDATE: candidate, PACKAGE: package}
        return next((v for v in self.versions.values() if wanted.items() <= v.tags.items()), None)


def name_of(version: Version | int | None) -> str:
    """v3, or "none"."""
    number = version.number if isinstance(version, Version) else version
    return f"v{number}" if number else NOBODY


def number_of(name: str) -> int | None:
    """3 for "v3", None for "none". Raises ValueError for anything else."""
    if name == NOBODY:
        return None
    if not re.fullmatch(r"v[1-9]\d*", name):
        raise ValueError(f"{name!r} is no version; write it as v3, or {NOBODY}")
    return int(name[1:])


def now() -> str:
    """This moment as it stands in tags, UTC."""
    return moment(time.time())


def moment(seconds: float) -> str:
    """Seconds since 1970 in the same words."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


# --- reading ---


def read(client, name: str) -> State:
    """The registry as it is; without versions when nothing was registered under this name yet."""
    model = find_model(client, name)
    if model is None:
        return State(name, {}, {}, {})
    aliases = {alias: int(number) for alias, number in model.aliases.items()}
    # Asked after the aliases, so that whatever they name is among them.
    versions = [
        Version(name, int(one.version), one.source, dict(one.tags))
        for one in experiments.pages(client.search_model_versions, f"name='{name}'")
    ]
    by_number = {version.number: version for version in sorted(versions, key=lambda one: one.number)}
    return State(name, by_number, aliases, dict(model.tags))


def find_model(client, name: str):
    """MLflow's registered model; None where there is none."""
    return experiments.if_there(client.get_registered_model, name)


def champion_number(uri: str, name: str) -> int | None:
    """Who serves. A sqlite store is read without MLflow, whose import alone takes 2 s; other stores are asked by it.

    Raises ValueError with one line for a server that does not answer.
    """
    file = experiments.store_file(uri)
    if file is None:
        from mlflow import MlflowClient, MlflowException

        try:
            champion = read(MlflowClient(uri), name).champion
        except MlflowException as error:
            # What a server refuses has words of its own; this is urllib's, page-long, for none that answers.
            if "failed with exception" not in str(error):
                raise
            raise ValueError(
                f"no MLflow answers at MLFLOW_TRACKING_URI={uri}; start it, or unset MLFLOW_TRACKING_URI"
            ) from None
        return champion.number if champion else None
    if not file.exists():
        return None
    query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
    with contextlib.closing(experiments.read_only(file)) as connection:
        row = connection.execute(query, (name, CHAMPION)).fetchone()
    return int(row[0]) if row else None


def resolve(client, uri: str) -> Version:
    """The version that `models:/NAME@ALIAS` or `models:/NAME/3` names. Raises ValueError where there is none."""
    match = URI.fullmatch(uri)
    if not match:
        raise ValueError(f"{uri} names no model; write models:/NAME@champion or models:/NAME/3")
    name, alias, number = match["name"], match["alias"], match["number"]
    state = read(client, name)
    if not state.versions:
        raise ValueError(f"no model {name!r} is registered in MLflow; plumb promote registers one")
    version = state.versions.get(state.aliases.get(alias, 0) if alias else int(number))
    if version is None:
        there = ", ".join([*(f"@{a}" for a in sorted(state.aliases)), *(f"/{n}" for n in state.versions)])
        raise ValueError(f"{uri} does not exist; {name} has {there}")
    return version


def local_files(client, version: Version) -> Path | None:
    """Where the files of a version lie on this machine, also after a move; None where MLflow has them elsewhere."""
    address = client.get_model_version_download_uri(version.name, str(version.number))
    return experiments.local_path(experiments.address_now(address))


# --- writing ---


def ensure_model(client, name: str) -> None:
    """Make the registered model unless it is there."""
    from mlflow.exceptions import MlflowException

    if find_model(client, name) is not None:
        return
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def write_tags(client, version: Version, tags: Mapping[str, str]) -> Version:
    """Set the tags that differ; returns the version with them."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(version.name, str(version.number), key, value)
    return Version(version.name, version.number, version.source, {**version.tags, **tags})


def remove_tag(client, version: Version, key: str) -> None:
    if key in version.tags:
        client.delete_model_version_tag(version.name, str(version.number), key)


def point(client, state: State, alias: str, version: Version) -> None:
    """Let `alias` name this version, unless it does."""
    if state.aliases.get(alias) != version.number:
        client.set_registered_model_alias(state.name, alias, str(version.number))


def settle(client, name: str) -> State:
    """Complete what belongs to whoever is champion, in case its promotion was killed after the alias had moved.

    A rollback under way is left alone: its journal says that the marks on the champion are meant.
    """
    state = read(client, name)
    champion = state.champion
    if champion is None or JOURNAL in state.tags:
        return state
    # Also one that was refused after it had served. The decision comes last, so that a kill on the way is seen.
    if ROLLED_BACK in champion.tags or PROMOTED not in champion.tags or champion.tags.get(DECISION) != "promoted":
        champion = write_tags(client, champion, {PROMOTED: now(), DECISION: "promoted"})
        remove_tag(client, champion, ROLLED_BACK)
    if state.aliases.get(CHALLENGER) == champion.number:
        client.delete_registered_model_alias(name, CHALLENGER)
    return read(client, name)
