"""The line of params that a file of no known form needs, with the columns that it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIKE = {
    "messages": ("messages", "conversation", "dialog", "turns", "chat"),
    "rejected": ("reject", "worse", "bad", "lose", "losing", "dispreferred", "disliked"),
    "chosen": ("chosen", "choose", "better", "best", "good", "win", "prefer", "accept", "liked"),
    "completion": ("completion", "response", "answer", "output", "reply", "target", "solution", "summary"),
    "prompt": ("prompt", "question", "query", "instruction", "input", "request", "post", "title", "context"),
}
NEEDED = {
    "demonstrations": ("prompt", "completion"),
    "prompts": ("prompt",),
    "preferences": ("prompt", "rejected", "chosen"),
}


def example_of(row: Mapping[str, Any], kind: str) -> str:
    """The columns seen, and a line to copy; a column that is not there has a name in capitals."""
    columns = ", ".join(f"{name}" for name in row) or "none"
    mapping = ", ".join(f"{field}: {column}" for field, column in _guessed(row, kind).items())
    return f"its columns are {columns}; say in params which is which, for example data.columns.{kind}: {{{mapping}}}"


def _guessed(row: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Our fields with the columns that look like them, by their names, else the texts in their order."""
    talks = [name for name, value in row.items() if isinstance(value, list) and _is_like(name, "messages")]
    if kind != "preferences" and talks:
        return {"messages": talks[0]}
    free = [name for name, value in row.items() if isinstance(value, (str, list)) and name != "id"]
    columns: dict[str, str] = {}
    for field in NEEDED[kind]:
        alike = [name for name in free if _is_like(name, field)]
        if alike:
            columns[field] = alike[0]
            free.remove(alike[0])
    return {
        field: columns.get(field) or (free.pop(0) if free else f"{field.upper()}_COLUMN")
        for field in sorted(NEEDED[kind], key=["prompt", "completion", "chosen", "rejected"].index)
    }


def _is_like(name: str, field: str) -> bool:
    return any(part in name.lower() for part in LIKE[field])
