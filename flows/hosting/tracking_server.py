"""Whether MLflow can take what a run will log, asked before hours of work: its version, and the experiment."""

import json
import os
import re
from importlib.metadata import version
from urllib.parse import quote

from flows.history import experiments
from flows.hosting import login
from flows.redact import without_login

DELETED, OK = "deleted", 200


def check(experiment: str) -> None:
    """Raises ValueError with the way out for a refused login, a server of an older major version than the client, and
    an experiment that was deleted. A server that does not answer ends no run: training is worth more than its log.
    """
    login.check_mlflow()
    uri = os.environ["MLFLOW_TRACKING_URI"]
    served = _is_server(uri) and server_version()
    if served and _major(served) < _major(version("mlflow")):
        raise ValueError(
            f"the MLflow server at {without_login(uri)} is {served}, older than MLflow {version('mlflow')} here, whose "
            f"models it cannot take; run MLflow {_major(version('mlflow'))} or newer there, or unset "
            "MLFLOW_TRACKING_URI"
        )
    check_experiment(experiment)


def make_ready(experiment: str) -> str | None:
    """`check`, then go on in a new experiment where the project was moved; returns what was done, in one line."""
    check(experiment)
    return experiments.follow(experiment)


def check_experiment(experiment: str) -> None:
    """Raises ValueError with the way out for one that was deleted, and its runs with it."""
    number, stage = _id_and_stage(os.environ["MLFLOW_TRACKING_URI"], experiment)
    if stage == DELETED:
        raise ValueError(
            f"MLflow's experiment {experiment!r} was deleted, and nothing can be logged there; bring it back with "
            f"`mlflow experiments restore --experiment-id {number}`, or name another (tracking.experiment in "
            "params.yaml)"
        )


def server_version() -> str | None:
    """The version of the MLflow server of this environment; None where it does not say."""
    status, text = login.get_mlflow("/version")
    return text.strip() if status == OK and re.match(r"\d+\.\d+", text.strip()) else None


def _major(number: str) -> int:
    return int(number.partition(".")[0])


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _id_and_stage(uri: str, name: str) -> tuple[str, str]:
    """Number and lifecycle stage of an experiment, asked without MLflow where that can be; empty where unknown."""
    file = experiments.store_file(uri)
    if file:
        return (experiments.state_in_sqlite(file, name) or ("", ""))[:2]
    if _is_server(uri):
        query = f"experiment_name={quote(name, safe='')}"
        status, text = login.get_mlflow(f"/api/2.0/mlflow/experiments/get-by-name?{query}")
        known = json.loads(text)["experiment"] if status == OK else {}
        return known.get("experiment_id", ""), known.get("lifecycle_stage", "")
    from mlflow import MlflowClient

    known = MlflowClient().get_experiment_by_name(name)
    return (known.experiment_id, known.lifecycle_stage) if known else ("", "")
