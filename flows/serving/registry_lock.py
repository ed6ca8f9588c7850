"""One writer at a time in the registry, also from several machines, although MLflow has no locks.

On one machine a file lock, which the kernel frees with its process. Across machines a claim: everybody writes theirs
as a tag of the registered model, *then* looks for others', and goes on only if there are none (of two, at least the
second to write sees the first's). Whoever sees another withdraws and tries again a little later. A claim left by a
dead process is cleared at once by the next holder of the same file lock, and by others once it is too old to be used.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.history import registry
from tasks.common import file_lock

CLAIM = "plumb.claim."
CLAIM_SECONDS = 240.0  # after this, others take a claim for dead
WORK_SECONDS = 60.0  # after this, its owner no longer writes: clocks of two machines may differ by the rest
WAIT_SECONDS = 300.0
POLL_SECONDS = (0.2, 1.0)


class Hold:
    """The lock as its holder sees it."""

    def __init__(self):
        self._since = time.monotonic()

    def check(self) -> None:
        """Raises ValueError if so much time has passed that somebody else may have taken over."""
        passed = time.monotonic() - self._since
        if passed > WORK_SECONDS:
            raise ValueError(f"the registry answered too slowly ({passed:.0f} s for a few writes); run it again")


@contextlib.contextmanager
def hold(client, name: str, state: Path, wait: float = WAIT_SECONDS) -> Iterator[Hold]:
    """Hold the registered model `name`, which must exist.

    state: PLUMB_STATE, where the file lock lies.
    Raises ValueError when it is not free within `wait` seconds.
    """
    from mlflow.exceptions import MlflowException

    deadline = time.monotonic() + wait
    folder = state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"registry-{name}").open("a+", encoding="utf-8") as file:
        _lock_file(file, name, deadline)
        place = _place(file)
        key = f"{CLAIM}{place}"
        _claim(client, name, key, deadline)
        try:
            yield Hold()
        finally:
            # What was done stays done; a claim that cannot be taken back now is cleared by the next holder.
            with contextlib.suppress(MlflowException):
                client.delete_registered_model_tag(name, key)


def _lock_file(file, name: str, deadline: float) -> None:
    while not file_lock.take(file):
        if time.monotonic() > deadline:
            raise ValueError(f"another process of this machine holds the registry of {name}; try later")
        time.sleep(random.uniform(*POLL_SECONDS))


def _place(file) -> str:
    """The name of this lock file: only its holder can have written claims under it."""
    file.seek(0)
    place = file.read().strip()
    if not place:
        place = uuid.uuid4().hex
        file.write(place)
        file.flush()
    return place


def _claim(client, name: str, key: str, deadline: float) -> None:
    while True:
        client.set_registered_model_tag(name, key, json.dumps({"at": time.time()}))
        others = _living_claims(client, name, key)
        if not others:
            return
        client.delete_registered_model_tag(name, key)
        if time.monotonic() > deadline:
            raise ValueError(f"another machine holds the registry of {name} since {_ago(others)}; try again later")
        time.sleep(random.uniform(*POLL_SECONDS))


def _living_claims(client, name: str, own: str) -> list[dict[str, Any]]:
    tags = registry.find_model(client, name).tags
    claims = [json.loads(value) for key, value in tags.items() if key.startswith(CLAIM) and key != own]
    return [claim for claim in claims if time.time() - claim["at"] < CLAIM_SECONDS]


def _ago(claims: list[dict[str, Any]]) -> str:
    return f"{time.time() - min(claim['at'] for claim in claims):.0f} s"
