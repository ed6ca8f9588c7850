"""A user's rows in the forms that people have them in, turned into ours.

Read: JSONL and Parquet (also gzipped JSONL); TRL's standard form (strings) and conversational form (messages);
Anthropic's HH form (`chosen` and `rejected` as whole dialogues, "\\n\\nHuman: …\\n\\nAssistant: …").
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from tasks.config.shared import CATEGORIES, SPLITS
from tasks.errors import DataError
from tasks.near_repeats import words_of
from tasks.rows import Row, parse_jsonl

HH_TURN = re.compile(r"\n\n(Human|Assistant): ?")
CONTENT = ("messages", "prompt", "completion", "chosen", "rejected")
HH_ROLES = {"Human": "user", "Assistant": "assistant"}
Messages = list[dict[str, str]]


class BadRow(ValueError):
    """A row that cannot be used, with the reason; the reader adds file and line."""


# --- files ---


def read_table(path: Path) -> list[Row]:
    """All rows of a .jsonl, .jsonl.gz or .parquet file.

    Raises DataError for a missing or empty file, another ending, or invalid JSON (with the line).
    """
    if not path.is_file():
        raise DataError(f"data file {path} does not exist; set data.path and the file names under data in params.yaml")
    try:
        rows = _read_any(path)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not rows:
        raise DataError(f"data file {path} has no rows")
    return rows


def _read_any(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            return pyarrow.parquet.read_table(path).to_pylist()
        except pyarrow.ArrowException as error:
            raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from None
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig") as file:
            return parse_jsonl(file, str(path))
    raise DataError(f"{path} is neither .jsonl, .jsonl.gz nor .parquet")


# --- pieces of rows ---


def dialogue(text: Any) -> Messages:
    """An HH dialogue as messages. Raises BadRow unless it is text that begins with the human."""
    if not isinstance(text, str):
        raise BadRow("a dialogue must be text")
    parts = HH_TURN.split(text)
    turns = [{"role": HH_ROLES[who], "content": said.strip()} for who, said in zip(parts[1::2], parts[2::2])]
    if not turns or turns[0]["role"] != "user":
        raise BadRow("the dialogue does not begin with a human turn")
    return turns


def _messages(value: Any, role: str) -> Messages:
    """A string as one message of `role`; a list of messages as it is."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    whole = isinstance(value, Sequence) and all(isinstance(m, Mapping) and {"role", "content"} <= set(m) for m in value)
    if not whole:
        raise BadRow("messages must be a string or a list of {role, content}")
    if not all(isinstance(m["role"], str) and isinstance(m["content"], str) for m in value):
        raise BadRow("role and content of a message must be text")
    return [{"role": m["role"], "content": m["content"]} for m in value]


def _is_hh(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("chosen"), str) and "prompt" not in row and "\n\nHuman:" in row["chosen"]


def _whole(row: Mapping[str, Any], key: str) -> Messages:
    """Prompt and response `key` of a preference row as one conversation."""
    if _is_hh(row):
        return dialogue(row[key])
    prompt = _messages(row["prompt"], "user") if row.get("prompt") else []
    return prompt + _messages(row[key], "assistant")


def _check_conversation(messages: Messages) -> Messages:
    """Raises BadRow unless it is a prompt followed by one answer with text in it."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise BadRow("it must end with an assistant's turn after a prompt")
    if not messages[-1]["content"].strip():
        raise BadRow("the response is empty")
    return [*_check_prompt(messages[:-1]), messages[-1]]


def _check_prompt(messages: Messages) -> Messages:
    if not messages or not any(m["content"].strip() for m in messages if m["role"] == "user"):
        raise BadRow("there is no prompt")
    return messages


# --- whole rows ---


def demonstration(row: Mapping[str, Any]) -> Row:
    """`messages` of a demonstration; of a preference, the chosen conversation."""
    if "messages" in row:
        messages = _messages(row["messages"], "user")
    elif "completion" in row:
        messages = _messages(row.get("prompt", ""), "user") + _messages(row["completion"], "assistant")
    elif "chosen" in row:
        messages = _whole(row, "chosen")
    else:
        raise BadRow("it has neither messages, nor prompt and completion, nor chosen")
    return {"messages": _check_conversation(messages)}


def preference(row: Mapping[str, Any]) -> Row:
    """`prompt`, `chosen` and `rejected` of a human comparison."""
    if "chosen" not in row or "rejected" not in row:
        raise BadRow("it has no chosen or no rejected")
    chosen, rejected = _check_conversation(_whole(row, "chosen")), _check_conversation(_whole(row, "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise BadRow("chosen and rejected do not share their prompt")
    if chosen[-1]["content"].strip() == rejected[-1]["content"].strip():
        raise BadRow("chosen equals rejected")
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}


def prompt(row: Mapping[str, Any]) -> Row:
    """`prompt` of a prompt row, of a demonstration or of a preference."""
    if "messages" in row or "chosen" in row:
        return {"prompt": demonstration(row)["messages"][:-1]}
    if not row.get("prompt"):
        raise BadRow("there is no prompt")
    messages = _check_prompt(_messages(row["prompt"], "user"))
    if messages[-1]["role"] == "assistant":
        raise BadRow("the prompt ends with an assistant's turn, which leaves nothing to answer")
    return {"prompt": messages}


def limited(content: Row, max_characters: int | None) -> Row:
    """The row itself. Raises BadRow when its longest conversation has more characters than allowed."""
    said = sum(len(m["content"]) for m in content.get("prompt") or content.get("messages", []))
    answered = [sum(len(m["content"]) for m in content.get(key, [])) for key in ("chosen", "rejected")]
    length = said + max(answered)
    if max_characters is not None and length > max_characters:
        raise BadRow(f"the conversation has {length} characters, more than data.max_characters={max_characters}")
    return content


# --- names ---


def root_of(messages: Messages) -> str:
    """Variants of one question share their root: here, the first thing the user says, by its words run together.

    Case, width, spaces and punctuation make no difference; a text without any word is taken as it stands.
    """
    first = next(m["content"] for m in messages if m["role"] == "user")
    said = "".join(words_of(first)) or " ".join(first.split())
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def named(source: Mapping[str, Any], content: Row, prefix: str, number: int) -> Row:
    """A row with id, root and category, its own where it has them; other fields are kept, nulls count as absent.

    Raises BadRow for a split that does not exist, and for what cannot be written as JSON in UTF-8.
    """
    said = content.get("prompt") or content["messages"]
    given = {key: value for key, value in source.items() if key not in CONTENT and value is not None}
    split = given.get("split")
    if split is not None and split not in SPLITS:
        raise BadRow(f"unknown split {split!r}; known are {', '.join(SPLITS)}")
    _check_writable({**given, **content})
    return {
        **given,
        **content,
        "id": str(given.get("id", f"{prefix}-{number}")),
        "root": str(given.get("root", root_of(said))),
        "category": str(given.get("category", CATEGORIES[0])),
    }


def _check_writable(row: Row) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise BadRow(f"it holds {half!r}, half of a character (a lone surrogate), which no file can hold") from None
    except TypeError as error:
        raise BadRow(f"a field cannot be written as JSON: {error}") from None
