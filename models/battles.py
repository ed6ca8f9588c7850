"""A table of battles as people have it, read into arrays: who met whom on which prompt, and who won.

Columns, the first that are there:
- players: `first`, `second` (ours); `model_a`, `model_b` (Chatbot Arena); `generator_1`, `generator_2` (AlpacaEval);
- outcome: `p_first`, the preference for the first in [0, 1]; `winner`: first, second, model_a, model_b, tie,
  tie (bothbad) or a player's name; `winner_model_a`, `winner_model_b`, `winner_tie`; AlpacaEval's `preference`, 1 to 2;
- prompt: `prompt_id`, `prompt`, `instruction`, `question`, what the user says first in `conversation_a`,
  `question_id`; prompts that share a `root` are resampled together;
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

from models.style import markdown_counts

PLAYERS = (("first", "second"), ("model_a", "model_b"), ("generator_1", "generator_2"))
OUTCOMES = ("p_first", "winner", "winner_model_a", "preference")
PROMPTS = ("prompt_id", "prompt", "instruction", "question", "conversation_a", "question_id")
RESPONSES = (
    ("first_response", "second_response"),
    ("response_a", "response_b"),
    ("output_1", "output_2"),
    ("conversation_a", "conversation_b"),
)
MARKS = ("header", "list", "bold")  # as the Arena's conv_metadata calls them
LENGTHS = (("first_length", "second_length"), ("length_a", "length_b"))
# A tie counts half, as on the Arena and in AlpacaEval: it needs no parameter and mixes with soft outcomes, which
# Davidson's model of ties (1970) cannot take.
WINNERS = {
    **dict.fromkeys(("first", "model_a", "a"), 1.0),
    **dict.fromkeys(("second", "model_b", "b"), 0.0),
    **dict.fromkeys(("tie", "tie (bothbad)", "bothbad", "both_bad", "both bad"), 0.5),
}
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Battles:
    """One entry per battle with a known outcome, in the table's order.

    `first`, `second`: (battles,) places in `models`. `p_first`: (battles,) in [0, 1], a tie is 0.5. `prompt`:
    (battles,) places in `prompts`. `root`: (battles,) numbers from 0, the units that are resampled. `lengths`:
    (battles, 2), of the first's and the second's response; `markdown`: (battles, 2, 3), headers, lists and bold; both
    nan where unknown. `notes`: what was left out and why, one line each.
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
    notes: tuple[str, ...]

    @property
    def roots(self) -> int:
        return int(self.root.max()) + 1

    def opponents(self, model: str) -> list[str]:
        """Who met `model`, by name. Raises ValueError where nobody did."""
        pairs = zip(self.first.tolist(), self.second.tolist(), strict=True)
        met = {self.models[other] for pair in pairs for one, other in (pair, pair[::-1]) if self.models[one] == model}
        if not met:
            raise ValueError(f"{model!r} has no battles; the table has {', '.join(self.models)}")
        return sorted(met)


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
            outcomes.append(_outcome(row, columns, players, number))
            used.append((number, row))
        except _Unknown as reason:
            left_out[str(reason)] += 1
    notes = [_left_out(left_out, len(rows))] if left_out else []
    if not used:
        raise ValueError(f"no battle has a known outcome: {notes[0] if notes else 'the table is empty'}")
    names = [[str(row[column]) for _, row in used] for column in players]
    models, index = np.unique(np.asarray([*names[0], *names[1]]), return_inverse=True)
    names_of_prompts, prompt, root = _prompts(used, columns, notes)
    lengths, marks = _measured(used, columns, markdown, notes)
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


class _Unknown(Exception):
    """A battle whose outcome is not known; its text is the reason."""


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
        if _missing(row.get(column)):
            raise ValueError(f"row {number} has no {column}; name both players of every battle")


def _outcome(row: Row, columns: set[str], players: tuple[str, str], number: int) -> float:
    """The preference for the first player. Raises _Unknown for what cannot be counted."""
    first, second = (str(row[column]) for column in players)
    if first == second:
        raise _Unknown("a model against itself")
    if "p_first" in columns:
        if str(row.get("winner")) == "invalid":
            raise _Unknown("winner 'invalid'")
        return _number(row, "p_first", 0, 1, number)
    if "winner_model_a" in columns:
        said = [row.get(f"winner_{name}") in (1, True, "1", "True", 1.0) for name in ("model_a", "model_b", "tie")]
        if sum(said) != 1:
            raise _Unknown("none or several of winner_model_a, winner_model_b, winner_tie")
        return (1.0, 0.0, 0.5)[said.index(True)]
    if "winner" in columns:
        return _winner(row.get("winner"), first, second)
    value = _number(row, "preference", 0, 2, number)
    if 0 < value < 1:
        raise ValueError(f"row {number} has preference {value}; AlpacaEval's goes from 1 to 2, with 0 for a tie")
    return 2 - value if value else 0.5


def _winner(value: Any, first: str, second: str) -> float:
    said = None if _missing(value) else str(value)
    if said in (first, second):
        return float(said == first)
    outcome = None if said is None else WINNERS.get(said.strip().lower())
    if outcome is None:
        raise _Unknown(f"winner {value!r}")
    return outcome


def _number(row: Row, column: str, low: float, high: float, number: int) -> float:
    try:
        value = math.nan if _missing(row.get(column)) else float(row[column])
    except (TypeError, ValueError):
        raise ValueError(f"row {number} has {column} {row[column]!r}; it must be a number") from None
    if math.isnan(value):
        raise _Unknown(f"{column} is missing or nan")
    if not low <= value <= high:
        raise ValueError(f"row {number} has {column} {value}; it lies between {low} and {high}")
    return value


def _missing(value: Any) -> bool:
    return _missing_text(value) or (isinstance(value, str) and not value)


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
    names, prompt = _numbered(used, column)
    return names, prompt, _numbered(used, "root")[1] if "root" in columns else prompt


def _numbered(used: Sequence[tuple[int, Row]], column: str | None) -> tuple[tuple[str, ...], np.ndarray]:
    """The column's different values, and each row's place in them; a row without a value stands for itself."""
    keys = [f"row {number}" if _missing(row.get(column)) else _key(row[column]) for number, row in used]
    place: dict[str, int] = {}
    numbers = np.asarray([place.setdefault(key, len(place)) for key in keys])
    return tuple(place), numbers


def _key(value: Any) -> str:
    turns = _turns(value)
    return str(next((turn for role, turn in turns if role == "user"), turns)) if turns else str(value)


def _measured(
    used: Sequence[tuple[int, Row]], columns: set[str], markdown: bool, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """`lengths` and `markdown` of the battles."""
    lengths, marks = np.full((len(used), 2), np.nan), np.full((len(used), 2, len(MARKS)), np.nan)
    given = next((pair for pair in LENGTHS if set(pair) <= columns), None)
    texts = next((pair for pair in RESPONSES if set(pair) <= columns), None)
    for place, (number, row) in enumerate(used):
        for side, letter in enumerate("ab"):
            metadata = row.get("conv_metadata")
            if isinstance(metadata, Mapping) and f"sum_assistant_{letter}_tokens" in metadata:
                lengths[place, side] = metadata[f"sum_assistant_{letter}_tokens"]
                marks[place, side] = [_total(metadata.get(f"{mark}_count_{letter}")) for mark in MARKS]
            elif texts and not _missing_text(row.get(texts[side])):
                text = response_text(row[texts[side]])
                lengths[place, side] = len(text)
                if markdown:
                    marks[place, side] = markdown_counts(text)
            if given and not _missing(row.get(given[side])):
                lengths[place, side] = _number(row, given[side], 0, math.inf, number)
    if empty := int((lengths == 0).sum()):
        notes.append(f"{empty} of {lengths.size} responses are empty")
    return lengths, marks


def _missing_text(value: Any) -> bool:
    """Whether there is nothing at all: None, nan, or pandas' marks; an empty text is a text."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


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
