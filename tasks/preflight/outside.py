"""What a preflight reads beside data, model, params and code, as digests: whether it is still so can be asked later.

A value of the environment is never written down, only its digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

WHOLE_BYTES = 10_000_000  # larger files are known by their size and the time of their last change
LENGTH = 16  # hexadecimal digits


def variable_digest(name: str) -> str:
    """Of a variable's value; empty for one that is not set, or to nothing."""
    value = os.environ.get(name, "")
    return hashlib.sha256(f"{name}\0{value}".encode()).hexdigest()[:LENGTH] if value else ""


def file_digest(path: Path) -> str:
    """Of a file, or of all files below a folder; empty for what is not there."""
    if not path.exists():
        return ""
    digest = hashlib.sha256()
    for file in _files(path):
        size, changed = file.stat().st_size, file.stat().st_mtime_ns
        content = file.read_bytes() if size <= WHOLE_BYTES else f"{size} {changed}".encode()
        digest.update(file.relative_to(path).as_posix().encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:LENGTH]


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
