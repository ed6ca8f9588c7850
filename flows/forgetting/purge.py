"""Purge rows that were forgotten: from the cache, a remote, working trees, judges' answers, logs, MLflow and Prefect.

Found first, then removed. What is found by the texts of a row goes before what is found by its id, and the data goes
last: it is what tells the texts, so a run that is killed leaves what the next one needs.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.alignment.local import Prefect
from flows.forgetting.mlflow_purge import Logged, find_logged, remove_logged
from flows.forgetting.prefect_purge import find_shown, remove_shown
from flows.forgetting.row_search import RowSearch
from flows.history.records import SUFFIXES
from flows.storage.data import pointers
from flows.storage.objects import FOLDER_ENDING, Objects
from flows.storage.removing import Item, remove
from tasks.intake.ledger import Tombstone

RECORD = "forgotten.json"
VERDICTS = "verdicts.sqlite"
JSON_START, WEIGHTS_HEAD = b"{", 9  # safetensors begin with the length of their header, then the header


@dataclass
class Purge:
    """Where the rows still are. `objects` are hashes; `files` lie in working trees and in PLUMB_STATE."""

    state: Path
    stones: list[Tombstone]
    objects: list[str] = field(default_factory=list)
    cached: list[Item] = field(default_factory=list)
    files: list[Item] = field(default_factory=list)
    answers: int = 0
    logged: list[Logged] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)  # ids of artifacts in Prefect
    far: dict[str, list[str]] = field(default_factory=dict)  # by remote
    remotes: dict[str, Any] = field(default_factory=dict)  # DVC's stores
    client: Any = None
    begun_ms: int = 0

    @property
    def empty(self) -> bool:
        return not (self.cached or self.files or self.answers or self.logged or self.shown or any(self.far.values()))

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": sorted({stone.row for stone in self.stones if stone.row}),
            "objects": self.objects,
            "remote_objects": self.far,
            "files": [str(item.path) for item in self.files],
            "answers": self.answers,
            "mlflow": [vars(one) for one in self.logged],
            "prefect": self.shown,
        }

    @classmethod
    def look(
        cls, root: Path, state: Path, trees: Iterable[Path], client, objects: Objects, stones: list[Tombstone],
        remotes: Iterable[str], prefect: Prefect | None = None,
    ) -> Purge:  # fmt: skip
        """Search everywhere; Prefect's pages where a `prefect` is given.

        Raises ValueError for a remote that does not exist.
        """
        record = _record(state)
        data = _data_params(root)
        columns = data.get("columns")
        stay = _current_texts(root / data.get("path", "data"), RowSearch(stones, columns=columns))
        search = RowSearch(stones, stay, columns)
        purge = cls(state, stones, client=client, begun_ms=round(1000 * time.time()))
        cache = {md5: objects.cache_path(md5) for md5 in objects.all() if not md5.endswith(FOLDER_ENDING)}
        readable = {md5: path for md5, path in cache.items() if not _is_weights(path)}
        for path in readable.values():
            search.learn(path.read_bytes())
        hits = [md5 for md5, path in readable.items() if search.holds(path.read_bytes())]
        hits.sort(key=lambda md5: _rank(readable[md5].read_bytes(), search))
        purge.cached = [Item(cache[md5], cache[md5].stat().st_size) for md5 in hits]
        purge.objects = sorted({*record["objects"], *hits})
        purge.remotes = {name: objects.remote(name) for name in remotes}
        known = set(purge.objects)
        purge.far = {name: _in_remote(store, search, known) for name, store in purge.remotes.items()}
        purge.files = [*_in_trees(root, trees, search), *_in_state(state, search)]
        purge.answers = _count_answers(state, stones)
        since = min((record["searched"].get(_name(stone), 0) for stone in stones), default=0)
        purge.logged = find_logged(client, search, {stone.row for stone in stones if stone.row}, since)
        purge.shown = find_shown(prefect, search) if prefect else []
        return purge

    def carry_out(self) -> None:
        """Remove it all. Repeated after a kill, it ends the same."""
        _write_record(self.state, self.objects, {})
        remove_logged(self.client, self.logged)
        remove_shown(self.shown)
        _delete_answers(self.state, self.stones)
        for item in (*self.files, *self.cached):
            remove(item.path)
        for name, hashes in self.far.items():
            _remove_far(self.remotes[name], hashes)
        _write_record(self.state, self.objects, {_name(stone): self.begun_ms for stone in self.stones})


def _remove_far(store, hashes: list[str]) -> None:
    from dvc_data.hashfile.db import get_index

    for md5 in hashes:
        store.fs.fs.rm_file(store.oid_to_path(md5))  # one by one: a list of paths is searched for * and [
    if hashes:
        get_index(store).clear()


def _name(stone: Tombstone) -> str:
    return f"{stone.row} {stone.digest}"


def _record(state: Path) -> dict[str, Any]:
    """Hashes of all objects that were ever purged, for the remotes; and up to when MLflow was searched, by row."""
    path = state / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"objects": [], "searched": {}}


def _write_record(state: Path, objects: Iterable[str], searched: dict[str, int]) -> None:
    before = _record(state)
    document = {
        "objects": sorted({*before["objects"], *objects}), "searched": {**before["searched"], **searched},
    }  # fmt: skip
    partial = state / f"{RECORD}.partial"
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.replace(state / RECORD)


def _rank(content: bytes, search: RowSearch) -> int:
    """0: a quotation, 1: made of the row, 2: the data itself, which tells the texts."""
    if not search.by_row(content):
        return 0
    return 2 if search.is_data(content) else 1


def _is_weights(path: Path) -> bool:
    with path.open("rb") as file:
        return _starts_weights(file.read(WEIGHTS_HEAD))


def _starts_weights(head: bytes) -> bool:
    return head[8:9] == JSON_START and head[5:8] == b"\0\0\0"


def _data_params(root: Path) -> dict[str, Any]:
    """The section `data` of the project's params, as it stands there."""
    import yaml

    return (yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")) or {}).get("data") or {}


def _current_texts(folder: Path, search: RowSearch) -> set[str]:
    """What the other rows of the working tree's data say."""
    files = sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    return {text for path in files for text in search.other_texts(path.read_bytes())}


def _in_remote(store, search: RowSearch, known: set[str]) -> list[str]:
    """Known by hash, or found by reading: every object of the remote but weights is read once."""
    hashes = []
    for md5 in store.all():
        if md5.endswith(FOLDER_ENDING):
            continue
        if md5 in known:
            hashes.append(md5)
            continue
        with store.fs.open(store.oid_to_path(md5), "rb") as file:
            head = file.read(WEIGHTS_HEAD)
            if not _starts_weights(head) and search.holds(head + file.read()):
                hashes.append(md5)
    return hashes


def _in_trees(root: Path, trees: Iterable[Path], search: RowSearch) -> Iterator[Item]:
    """Outputs of stages in working trees, and the data that clones have checked out.

    The data of `root` is left: who changed it by hand is told by `plumb forget`.
    """
    for tree in trees:
        for folder in ("artifacts", "metrics"):
            yield from _holding((tree / folder).rglob("*"), search)
        for pointer in pointers(tree) if tree != root else ():
            data = pointer.with_suffix("")
            yield from _holding(data.rglob("*") if data.is_dir() else [data], search)


def _in_state(state: Path, search: RowSearch) -> Iterator[Item]:
    """Samples of calls and logs of stages; answers that a killed stage kept beside its checkpoints."""
    yield from _holding((state / "runs").glob("*/*"), search)
    yield from _holding((p for p in (state / "checkpoints").rglob("*") if p.suffix in SUFFIXES), search)


def _holding(paths: Iterable[Path], search: RowSearch) -> Iterator[Item]:
    for path in sorted(paths):
        if path.is_file() and not _is_weights(path) and search.holds(path.read_bytes()):
            yield Item(path, path.stat().st_size if path.stat().st_nlink == 1 else 0)


# --- judges' answers ---


def _count_answers(state: Path, stones: Iterable[Tombstone]) -> int:
    if not (state / VERDICTS).exists():
        return 0
    with contextlib.closing(sqlite3.connect(state / VERDICTS)) as store:
        count = "SELECT COUNT(*) FROM answers WHERE prompt_id = ?"
        return sum(store.execute(count, (stone.row,)).fetchone()[0] for stone in stones)


def _delete_answers(state: Path, stones: Iterable[Tombstone]) -> None:
    """Overwritten, not only unlinked from SQLite's tree."""
    if not (state / VERDICTS).exists():
        return
    with contextlib.closing(sqlite3.connect(state / VERDICTS, timeout=60, isolation_level=None)) as store:
        store.execute("PRAGMA secure_delete=ON")
        for stone in stones:
            store.execute("DELETE FROM answers WHERE prompt_id = ?", (stone.row,))
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
