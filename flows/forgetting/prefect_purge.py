"""Copies of a forgotten row on Prefect's pages: artifacts that show prompts and answers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from flows.alignment.local import Prefect
from flows.forgetting.row_search import RowSearch

DATABASE = "prefect.db"  # of a server on this machine
PAGE = 100


def find_shown(prefect: Prefect, search: RowSearch) -> list[str]:
    """The ids of the artifacts, of the server that runs or of this project's own.

    Raises ValueError for a server that does not answer.
    """
    if not prefect.somebodys and not (Path(os.environ["PREFECT_HOME"]) / DATABASE).exists():
        return []
    prefect.start()
    prefect.wait()
    return [str(artifact.id) for artifact in _artifacts() if search.holds(_content(artifact.data))]


def remove_shown(ids: list[str]) -> None:
    """What is gone already is no error."""
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    if not ids:
        return
    with get_client(sync_client=True) as client:
        for one in ids:
            with contextlib.suppress(ObjectNotFound):
                client.delete_artifact(UUID(one))


def _artifacts() -> Iterator:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:
        offset = 0
        while page := client.read_artifacts(sort=ArtifactSort.ID_DESC, limit=PAGE, offset=offset):
            yield from page
            offset += len(page)


def _content(data: object) -> bytes:
    return data.encode() if isinstance(data, str) else json.dumps(data, ensure_ascii=False).encode()
