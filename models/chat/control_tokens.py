"""Which texts a model's tokenizer takes for control tokens, read from its files: no tokenizer is loaded for it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from models.chat.plain_text import texts_in

FILES = ("tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json")
TEMPLATE_FILE = "chat_template.jinja"


def template_tokens(added: Iterable[str], templates: Collection[str]) -> frozenset[str]:
    """Those of the added tokens that stand in a chat template; blank ones are ordinary text."""
    return frozenset(token for token in added if token.strip() and any(token in text for text in templates))


def control_marks(model_dir: Path) -> frozenset[str]:
    """Special tokens, and added tokens that the chat template names. Empty where there is no tokenizer to read."""
    documents = {name: _read(model_dir / name) for name in FILES}
    special: set[str] = set()
    added: set[str] = set(documents["added_tokens.json"])
    declared = documents["tokenizer.json"].get("added_tokens") or []
    for token in [*declared, *documents["tokenizer_config.json"].get("added_tokens_decoder", {}).values()]:
        (special if token.get("special") else added).add(token["content"])
    special |= set(_named(documents["special_tokens_map.json"])) | set(_named(documents["tokenizer_config.json"]))
    marks = special | template_tokens(added, _templates(model_dir, documents["tokenizer_config.json"]))
    return frozenset(mark for mark in marks if mark.strip())


def holds_mark(value: Any, marks: Collection[str]) -> bool:
    """Whether any text in a value of JSON, at any depth, holds one of the marks."""
    return any(mark in text for text in texts_in(value) for mark in marks)


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file, or another thing in it."""
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _named(document: Mapping[str, Any]) -> list[str]:
    """The tokens under keys like eos_token, and in lists like extra_special_tokens."""
    values: list[Any] = [value for key, value in document.items() if key.endswith("_token")]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        values += list(document.get(key) or ())
    texts = [value.get("content") if isinstance(value, Mapping) else value for value in values]
    return [text for text in texts if isinstance(text, str)]


def _templates(model_dir: Path, config: Mapping[str, Any]) -> list[str]:
    """The chat templates beside a tokenizer: one file, a folder of them, or within its config, one or several."""
    files = [model_dir / TEMPLATE_FILE, *sorted((model_dir / "additional_chat_templates").glob("*.jinja"))]
    inside = config.get("chat_template") or []
    named = [inside] if isinstance(inside, str) else [one["template"] for one in inside]
    return [file.read_text(encoding="utf-8") for file in files if file.is_file()] + named
