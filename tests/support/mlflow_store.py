"""Empty MLflow stores on sqlite: making the tables takes a second, so it is done once, and each test gets a copy."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


def empty_store(file: Path) -> str:
    """The URI of a new store in `file`."""
    shutil.copy(_template(), file)
    return f"sqlite:///{file}"


@functools.cache
def _template() -> Path:
    from mlflow import MlflowClient

    holder = tempfile.TemporaryDirectory()
    atexit.register(holder.cleanup)
    file = Path(holder.name) / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file
