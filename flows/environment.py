"""Where things are on this machine, and what the libraries must be told before they are imported.

Nothing here changes a result: what does belongs in params.yaml.
"""

import os
from pathlib import Path

from tasks.runner.state import state_root


LOOPBACK = "127.0.0.1,localhost"


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` with a dvc.yaml.

    Raises ValueError where there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise ValueError(
        f"{start} is not inside a project: no dvc.yaml here or above; change into the clone first; "
        "the runs of a worker need PLUMB_PROJECT, where its clone is"
    )


def state_dir(root: Path) -> Path:
    """PLUMB_STATE as an absolute path, made if needed and hidden from git."""
    folder = state_root(root)
    folder = (folder if folder.is_absolute() else root / folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return folder


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare(root: Path) -> None:
    """Set what Prefect and MLflow read at import; what the caller has set already stays."""
    settings = {
        # The stages run elsewhere than the flow's own clone at times: one state folder for all of them.
        "PLUMB_STATE": str(state_dir(root)),
        "PREFECT_HOME": str(root / ".prefect"),
        # The telemetry of a fresh server prints a long "database is locked" trace.
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
        # The console belongs to the progress display; the logs stay complete in the Prefect pages.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # A tracking server that is down costs seconds, not the minutes of MLflow's default.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "GIT_PYTHON_REFRESH": "quiet",
        "DVC_NO_ANALYTICS": "true",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    kind, slashes, path = os.environ["MLFLOW_TRACKING_URI"].partition("sqlite:///")
    if slashes and not kind:  # a relative one would be another file in each clone that a run works in
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{root / path}"
    reached = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if LOOPBACK not in reached and reached != "*":  # where a proxy is set, it would be asked for the servers here, too
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, [reached, LOOPBACK]))
