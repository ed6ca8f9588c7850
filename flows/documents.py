"""JSON documents in files, written whole or not at all."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any | None:
    """The document at `path`; None while there is none, or a torn one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_json(path: Path, document: Any, indent: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document, indent=indent, sort_keys=indent is not None), encoding="utf-8")
    partial.replace(path)
