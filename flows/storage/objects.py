"""What DVC keeps, by its hashes alone: from the cache, or where that lacks an object, from the remotes.

Nothing is checked out and nothing is written, so that the working tree does not matter.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER_ENDING = ".dir"
TABLES = (".jsonl", ".jsonl.gz", ".parquet")
WEIGHTS = ".safetensors"


class Objects:
    """The objects of the project at `root`; `remotes` False looks into the cache alone."""

    def __init__(self, root: Path, remotes: bool = True):
        from dvc.repo import Repo

        self._repo = Repo(str(root))
        self._with_remotes = remotes
        self._listings: dict[str, dict[str, str] | None] = {}

    def read(self, md5: str) -> bytes | None:
        """The bytes of an object; None where nobody has it."""
        for store in self._stores:
            with contextlib.suppress(Exception):  # every remote has errors of its own, and the next may have it
                with store.fs.open(store.oid_to_path(md5), "rb") as file:
                    return file.read()
        return None

    def files(self, path: str, md5: str) -> dict[str, str] | None:
        """Name to md5 of the files of an output; for a single file itself. None where nobody has the listing."""
        if not md5.endswith(FOLDER_ENDING):
            return {path.rpartition("/")[2]: md5}
        if md5 not in self._listings:
            listing = self.read(md5)
            entries = json.loads(listing) if listing is not None else None
            self._listings[md5] = None if entries is None else {entry["relpath"]: entry["md5"] for entry in entries}
        return self._listings[md5]

    @property
    def cache_folder(self) -> Path:
        return Path(self._repo.cache.local.path).resolve()

    @property
    def run_cache(self) -> Path:
        """Where DVC remembers which outputs a stage made of which inputs."""
        return Path(self._repo.stage_cache.cache_dir)

    def all(self) -> list[str]:
        """The hashes of the cache."""
        return list(self._repo.cache.local.all()) if self.cache_folder.is_dir() else []

    def cache_path(self, md5: str) -> Path:
        return Path(self._repo.cache.local.oid_to_path(md5))

    def remote(self, name: str) -> Any:
        """DVC's store of a remote. Raises ValueError for one that is not configured."""
        if name not in self._repo.config["remote"]:
            known = ", ".join(self._repo.config["remote"]) or "none"
            raise ValueError(f"there is no DVC remote {name!r} (known: {known}); give another --remote")
        return self._repo.cloud.get_remote_odb(name)

    @cached_property
    def _stores(self) -> list[Any]:
        """The cache, then the remotes, the default one first."""
        config = self._repo.config
        default = config["core"].get("remote")
        names = sorted(config["remote"], key=lambda name: name != default) if self._with_remotes else []
        stores = [self._repo.cache.local]
        for name in names:
            with contextlib.suppress(Exception):  # one whose driver or address is missing
                stores.append(self._repo.cloud.get_remote_odb(name))
        return stores


def rows_of(name: str, content: bytes) -> Iterator[dict[str, Any]]:
    """The rows of a table by the ending of its name; what is no row is passed over, and other files have none."""
    if name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        with contextlib.suppress(pyarrow.ArrowException):
            yield from pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
        return
    if not name.endswith(TABLES):
        return
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row
