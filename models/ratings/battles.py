"""A table of battles as people have it, read into arrays: who met whom on which prompt, and who won.

Columns, the first that are there:
- players: `first`, `second` (ours); `model_a`, `model_b` (Chatbot Arena); `generator_1`, `generator_2` (AlpacaEval);
- outcome, in each row the first that is given: `p_first`, the preference for the first in [0, 1]; `winner_model_a`,
  `winner_model_b`, `winner_tie`; `winner`: a player's name, or first, second, model_a, model_b, a, b, tie,
  tie (bothbad); AlpacaEval's `preference`, 1 to 2;
- prompt: `prompt_id`, `prompt`, `instruction`, `question`, what the user says first in `conversation_a`,
  `question_id`; prompts that share a `root` are resampled together, and one without a root stands for itself;
- for style and length: `first_response`, `response_a`, `output_1` or `conversation_a` and their like; lengths alone as
  `first_length` or `length_a`; the Arena's `conv_metadata`.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.ratings.outcomes import (
    OUTCOMES,
    Row,
    Unknown,
    missing,
    missing_number,
    missing_text,
    number_in,
    outcome_of,
    player_name,
)
from models.ratings.style import markdown_counts

PLAYERS = (("first", "second"), ("model_a", "model_b"), ("generator_1", "generator_2"))
PROMPTS = ("prompt_id", "prompt", "instruction", "question", "conversation_a", "question_id")
RESPONSES = (
    ("first_response", "second_response"),
    ("response_a", "response_b"),
    ("output_1", "output_2"),
    ("conversation_a", "conversation_b"),
)
MARKS = ("header", "list", "bold")  # as the Arena's conv_metadata calls them
LENGTHS = (("first_length", "second_length"), ("length_a", "length_b"))


@dataclass(frozen=True, eq=False)
class Battles:
    """One entry per battle with a known outcome, in the table's order.

    `first`, `second`: (battles,) places in `models`. `p_first`: (battles,) in [0, 1], a tie is 0.5. `prompt`:
    (battles,) places in `prompts`. `root`: (battles,) numbers from 0, the units that are resampled. `lengths`:
    (battles, 2), of the first's and the second's response; `markdown`: (battles, 2, 3), headers, lists and bold; both
    nan where unknown. `texts`: (battles, 2), equal numbers for equal responses, -1 where they are not known. `notes`:
    what was left out and why, one line each.
    """

    models: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    p_first: np.ndarray
    prompts: tuple[str, ...]
    prompt: np.ndarray
    root: np.ndarray
    lengths: np.ndarray
    markdown: np.ndarray
    texts: np.ndarray
    notes: tuple[str, ...]

    @property
    def roots(self) -> int:
        return int(self.root.max()) + 1

    def opponents(self, model: str) -> list[str]:
        """Who met `model`, by name. Raises ValueError where nobody did."""
        if model not in self.models:
            raise ValueError(f"{model!r} has no battles; the table has {', '.join(self.models)}")
        place = self.models.index(model)
        met = np.concatenate([self.second[self.first == place], self.first[self.second == place]])
        return [self.models[other] for other in np.unique(met)]


def read_battles(table: Any, *, markdown: bool = False) -> Battles:
    """Battles of a table: rows as mappings, columns as a mapping, a pandas DataFrame or a pyarrow Table.

    Args:
        markdown: also count headers, lists and bold, which takes a while on long texts.

    A battle without a known outcome, and one of a model against itself, is left out and counted in `notes`.

    Raises:
        ValueError: columns that are missing, a row without a player, an outcome outside its range, no battle left.
    """
    rows = table_rows(table)
    columns: set[str] = set().union(*(row.keys() for row in rows))
    players = _players(columns)
    used, outcomes, left_out = [], [], Counter()
    for number, row in enumerate(rows, start=1):
        _check_players(row, players, number)
        try:
            outcomes.append(outcome_of(row, columns, players, number))
            used.append((number, row))
        except Unknown as reason:
            left_out[str(reason)] += 1
    notes = [_left_out(left_out, len(rows))] if left_out else []
    if not used:
        raise ValueError(f"no battle has a known outcome: {notes[0] if notes else 'the table is empty'}")
    names = [[player_name(row[column]) for _, row in used] for column in players]
    models, index = np.unique(np.asarray([*names[0], *names[1]]), return_inverse=True)
    notes += _near_names(models.tolist())
    names_of_prompts, prompt, root = _prompts(used, columns, notes)
    lengths, marks, texts = _measured(used, columns, markdown, notes)
    first, second = index.reshape(2, -1)
    return Battles(
        models=tuple(models.tolist()),
        first=first,
        second=second,
        p_first=np.asarray(outcomes),
        prompts=names_of_prompts,
        prompt=prompt,
        root=root,
        lengths=lengths,
        markdown=marks,
        texts=texts,
        notes=tuple(notes),
    )


def table_rows(table: Any) -> list[Row]:
    """Any table as a list of rows."""
    if hasattr(table, "to_pylist"):
        return table.to_pylist()
    if hasattr(table, "to_dict"):
        return table.to_dict("records")
    if isinstance(table, Mapping):
        return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    return list(table)


def _players(columns: Iterable[str]) -> tuple[str, str]:
    columns = set(columns)
    players = next((pair for pair in PLAYERS if set(pair) <= columns), None)
    if players is None or not columns & set(OUTCOMES):
        raise ValueError(
            f"the table has columns {', '.join(sorted(columns)) or 'none'}; battles need first and second, or model_a "
            "and model_b, and an outcome: p_first (0 to 1) or winner (first, second, model_a, model_b, tie)"
        )
    return players


def _check_players(row: Row, players: tuple[str, str], number: int) -> None:
    for column in players:
        if missing(row.get(column)) or not player_name(row[column]):
            raise ValueError(f"row {number} has no {column}; name both players of every battle")


def _near_names(models: Sequence[str]) -> list[str]:
    """A note on models whose names differ in capitals alone: people mean one model, the table has two."""
    spelled: dict[str, list[str]] = {}
    for name in models:
        spelled.setdefault(name.casefold(), []).append(name)
    near = [" and ".join(map(repr, names)) for names in spelled.values() if len(names) > 1]
    return [f"these names differ in capitals alone and count as different models: {'; '.join(near)}"] if near else []


def _left_out(reasons: Counter[str], rows: int, shown: int = 4) -> str:
    named = [f"{reason} ({count})" for reason, count in reasons.most_common(shown)]
    more = [f"{len(reasons) - shown} more"] if len(reasons) > shown else []
    return f"{reasons.total()} of {rows} battles are left out: {', '.join([*named, *more])}"


def _prompts(
    used: Sequence[tuple[int, Row]], columns: set[str], notes: list[str]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names of prompts, each battle's place in them, and the number of its root."""
    column = next((name for name in (*PROMPTS, "root") if name in columns), None)
    if column is None:
        notes.append(
            "no column names the prompt (prompt_id, prompt or root): every battle counts as a prompt of its own, and "
            "intervals are too narrow if prompts repeat"
        )
    names, prompt = _numbered([_value(row, column, number) for number, row in used])
    if "root" not in columns:
        return names, prompt, prompt
    known = {place: row["root"] for place, (_, row) in zip(prompt.tolist(), used, strict=True) if _has_root(row)}
    own = [row["root"] if _has_root(row) else known.get(place) for place, (_, row) in zip(prompt.tolist(), used)]
    keys = [("prompt", place) if root is None else _key(root) for root, place in zip(own, prompt.tolist(), strict=True)]
    return names, prompt, _numbered(keys)[1]


def _has_root(row: Row) -> bool:
    return not missing(row.get("root"))


def _value(row: Row, column: str | None, number: int) -> str:
    """What names the row's prompt; a row without it stands for itself."""
    return f"row {number}" if missing(row.get(column)) else _key(row[column])


def _numbered(keys: Sequence[Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """The different keys, and the place of each in them."""
    place: dict[Any, int] = {}
    places = np.asarray([place.setdefault(key, len(place)) for key in keys])
    return tuple(place), places


def _key(value: Any) -> str:
    turns = _turns(value)
    return str(next((turn for role, turn in turns if role == "user"), turns)) if turns else str(value)


def _measured(
    used: Sequence[tuple[int, Row]], columns: set[str], markdown: bool, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`lengths`, `markdown` and `texts` of the battles."""
    lengths, marks = np.full((len(used), 2), np.nan), np.full((len(used), 2, len(MARKS)), np.nan)
    identities, known = np.full((len(used), 2), -1), {}
    given = next((pair for pair in LENGTHS if set(pair) <= columns), None)
    texts = next((pair for pair in RESPONSES if set(pair) <= columns), None)
    for place, (number, row) in enumerate(used):
        for side, letter in enumerate("ab"):
            metadata = row.get("conv_metadata")
            if isinstance(metadata, Mapping) and f"sum_assistant_{letter}_tokens" in metadata:
                tokens = f"sum_assistant_{letter}_tokens"
                if not missing_number(metadata[tokens]):
                    lengths[place, side] = number_in(metadata, tokens, 0, math.inf, number)
                marks[place, side] = [_total(metadata.get(f"{mark}_count_{letter}")) for mark in MARKS]
            text = response_text(row[texts[side]]) if texts and not missing_text(row.get(texts[side])) else None
            if text is not None:
                identities[place, side] = known.setdefault(text, len(known))
                if np.isnan(lengths[place, side]):
                    lengths[place, side] = len(text)
                if markdown and np.isnan(marks[place, side]).any():
                    marks[place, side] = markdown_counts(text)
            if given and not missing_number(row.get(given[side])):
                lengths[place, side] = number_in(row, given[side], 0, math.inf, number)
    if empty := int((lengths == 0).sum()):
        notes.append(f"{empty} of {lengths.size} responses are empty")
    return lengths, marks, identities


def _total(counts: Any) -> float:
    return float(sum(counts.values())) if isinstance(counts, Mapping) else float(counts or 0)


def response_text(value: Any) -> str:
    """What the model says: a text, a list of texts (or its JSON, as in the Arena's CSV), or a conversation's turns."""
    turns = _turns(value)
    return "\n".join(text for role, text in turns if role != "user") if turns else str(value)


def _turns(value: Any) -> list[tuple[str, str]]:
    """(role, text) of a conversation or of a list of texts; empty for a plain text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if isinstance(value, str) or not isinstance(value, Iterable):
        return []
    return [_turn(turn) for turn in value]


def _turn(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        return "assistant", "" if turn is None else str(turn)
    content = turn.get("content", "")
    if isinstance(content, Iterable) and not isinstance(content, str):
        content = "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(turn.get("role")), str(content or "")
