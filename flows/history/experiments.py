"""Where MLflow's experiment keeps its artifacts, when the project's folder was moved or copied.

MLflow stores an artifact root as an absolute address and cannot change it. Beside a sqlite store the root is ours:
the runs of a moved project go to a new experiment of the same name, linked by tags with the old one, whose artifacts
are read where they lie now.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SQLITE, FOLDER = "sqlite:///", "mlartifacts"
MOVED_FROM, MOVED_TO = "plumb.moved_from", "plumb.moved_to"
# `linked` for a store that is read without MLflow; its parameters are the name and MOVED_FROM.
LINKED_IN_SQLITE = (
    "WITH RECURSIVE linked(id) AS (SELECT experiment_id FROM experiments WHERE name = ? UNION"
    " SELECT CAST(t.value AS INTEGER) FROM linked JOIN experiment_tags t ON t.experiment_id = linked.id AND t.key = ?)"
)


def store_file(uri: str) -> Path | None:
    """The file of a sqlite store; None for any other."""
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


def read_only(file: Path) -> sqlite3.Connection:
    """A connection to a store that is there, without MLflow, whose import alone takes 2 s."""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


def artifact_root() -> Path | None:
    """Beside a sqlite store; None for a server, which knows by itself where its artifacts go."""
    file = store_file(os.environ["MLFLOW_TRACKING_URI"])
    return file.parent / FOLDER if file else None


def state_in_sqlite(file: Path, name: str) -> tuple[str, str, str] | None:
    """(id, lifecycle stage, artifact root) of an experiment; None where there is none, or the file is no store yet."""
    query = "SELECT CAST(experiment_id AS TEXT), lifecycle_stage, artifact_location FROM experiments WHERE name = ?"
    try:
        with closing(read_only(file)) as connection:
            return connection.execute(query, (name,)).fetchone()
    except sqlite3.Error:
        return None


def moved_from(name: str) -> Path | None:
    """Where the experiment still keeps its artifacts, if that is beside the store of a project that was moved."""
    file = store_file(os.environ["MLFLOW_TRACKING_URI"])
    state = state_in_sqlite(file, name) if file else None
    old = local_path(state[2]) if state else None
    return old if old and old.name == FOLDER and old.resolve() != artifact_root() else None


def follow(name: str) -> str | None:
    """Go on in a new experiment where the project was moved; returns what was done, in one line.

    Each is linked with the other before either gets its name, so what was killed half-way goes on from there.
    """
    coming, file = f"{name} (being moved)", store_file(os.environ["MLFLOW_TRACKING_URI"])
    if file is None or not (moved_from(name) or state_in_sqlite(file, coming)):
        return None
    from mlflow import MlflowClient

    client = MlflowClient()
    old, new = client.get_experiment_by_name(name), client.get_experiment_by_name(coming)
    if new is None:
        tags = {MOVED_FROM: old.experiment_id}
        new = client.get_experiment(client.create_experiment(coming, artifact_root().as_uri(), tags=tags))
    old = old or client.get_experiment(new.tags[MOVED_FROM])
    kept = f"{name} (until it was moved, {old.experiment_id})"
    client.set_experiment_tag(old.experiment_id, MOVED_TO, new.experiment_id)
    client.rename_experiment(old.experiment_id, kept)
    client.rename_experiment(new.experiment_id, name)
    return follow(name) or (
        f"This project was moved: MLflow's experiment {name!r} keeps its artifacts in "
        f"{local_path(old.artifact_location)}. It is called {kept!r} from now on, and all stages are logged in a new "
        f"{name!r}, in {artifact_root()}"
    )


def linked(client, name: str) -> list[str]:
    """The ids of the experiment of this name and of those that it goes on from; none where there is no such name."""
    ids: list[str] = []
    experiment = client.get_experiment_by_name(name)
    while experiment and experiment.experiment_id not in ids:
        ids.append(experiment.experiment_id)
        before = experiment.tags.get(MOVED_FROM)
        experiment = if_there(client.get_experiment, before) if before else None
    return ids


def if_there(get: Callable[[str], Any], name: str) -> Any:
    """What MLflow has of this name or id; None where it has none, or none any more."""
    from mlflow.exceptions import MlflowException

    try:
        return get(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def pages(search: Callable[..., Any], *where, **how) -> Iterator[Any]:
    """What a search of MLflow's client gives, page by page."""
    token = None
    while True:
        page = search(*where, **how, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def made(client, name: str) -> str:
    """The id of the experiment of this name, which is made where there is none."""
    experiment = client.get_experiment_by_name(name)
    if experiment:
        return experiment.experiment_id
    root = artifact_root()
    return client.create_experiment(name, artifact_location=root.as_uri() if root else None)


def all_ids(client, deleted: bool = False) -> list[str]:
    """deleted: also of those that were deleted, which MLflow keeps until `mlflow gc`."""
    return [one.experiment_id for one in client.search_experiments(_view(deleted))]


def all_runs(
    client, where: str = "", order: str = "attributes.start_time DESC", deleted: bool = False
) -> Iterator[Any]:
    """The runs of all experiments, the newest first; deleted: also those that were deleted."""
    ids = all_ids(client, deleted)
    return pages(client.search_runs, ids, where, _view(deleted), order_by=[order]) if ids else iter(())


def _view(deleted: bool):
    from mlflow.entities import ViewType

    return ViewType.ALL if deleted else ViewType.ACTIVE_ONLY


def in_place(client) -> list[str]:
    """The ids of the experiments whose artifacts lie where MLflow says."""
    return [one.experiment_id for one in client.search_experiments() if MOVED_TO not in one.tags]


def address_now(uri: str) -> str:
    """The address of artifacts, also of those that a moved project has brought along."""
    path, root = local_path(uri), artifact_root()
    if path is None or root is None or FOLDER not in path.parts:
        return uri
    here = root.joinpath(*path.parts[path.parts.index(FOLDER) + 1 :])
    return here.as_uri() if here.exists() else uri


def artifacts(client, run_id: str):
    """MLflow's repository of a run's artifacts, where they lie now."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    address = address_now(client.get_run(run_id).info.artifact_uri)
    return get_artifact_repository(address, tracking_uri=client.tracking_uri)


def listed(client, run_id: str, folder: str | None = None) -> list[str]:
    """The paths of a run's artifacts in one folder, by default at the top."""
    return [artifact.path for artifact in artifacts(client, run_id).list_artifacts(folder)]


def fetch(client, run_id: str, path: str, folder: str) -> Path:
    """Download an artifact of a run into `folder`."""
    return Path(artifacts(client, run_id).download_artifacts(path, folder))


def store_json(client, run_id: str, path: str, document: Mapping[str, Any]) -> None:
    """Write a JSON artifact of a run where its artifacts lie now."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
        artifacts(client, run_id).log_artifact(str(file), str(Path(path).parent))


def local_path(address: str) -> Path | None:
    """The path that an address means on this machine; None for one of another kind."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
