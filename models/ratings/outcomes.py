"""The outcome of one battle as people write it down, and the fields of a row that say nothing."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

OUTCOMES = ("p_first", "winner_model_a", "winner", "preference")
# A tie counts half, as on the Arena and in AlpacaEval: it needs no parameter and mixes with soft outcomes, which
# Davidson's model of ties (1970) cannot take.
WINNERS = {
    **dict.fromkeys(("first", "model_a", "a"), 1.0),
    **dict.fromkeys(("second", "model_b", "b"), 0.0),
    **dict.fromkeys(("tie", "tie (bothbad)", "bothbad", "both_bad", "both bad"), 0.5),
}
Row = Mapping[str, Any]


class Unknown(Exception):
    """A battle whose outcome is not known; its text is the reason."""


def outcome_of(row: Row, columns: set[str], players: tuple[str, str], number: int) -> float:
    """The preference for the first player in the row `number`, by the first of OUTCOMES that the row gives.

    Raises Unknown for what cannot be counted, ValueError for a number outside its range.
    """
    first, second = (player_name(row[column]) for column in players)
    if first == second:
        raise Unknown("a model against itself")
    if "p_first" in columns and player_name(row.get("winner")) == "invalid":
        raise Unknown("winner 'invalid'")
    given = [name for name in OUTCOMES if name in columns and not missing_number(row.get(name))]
    kind = given[0] if given else next(name for name in OUTCOMES if name in columns)
    if kind == "p_first":
        return number_in(row, kind, 0, 1, number)
    if kind == "winner_model_a":
        marked = [row.get(f"winner_{name}") in (1, True, "1", "True", 1.0) for name in ("model_a", "model_b", "tie")]
        if sum(marked) != 1:
            raise Unknown("none or several of winner_model_a, winner_model_b, winner_tie")
        return (1.0, 0.0, 0.5)[marked.index(True)]
    if kind == "winner":
        return _winner(row.get(kind), first, second)
    value = number_in(row, kind, 0, 2, number)
    if 0 < value < 1:
        raise ValueError(f"row {number} has preference {value}; AlpacaEval's goes from 1 to 2, with 0 for a tie")
    return 2 - value if value else 0.5


def _winner(value: Any, first: str, second: str) -> float:
    winner = "" if missing(value) else player_name(value)
    if winner in (first, second):
        return float(winner == first)
    if (outcome := WINNERS.get(winner.lower())) is None:
        raise Unknown(f"winner {value!r}")
    named = [name for name in (first, second) if name.lower() == winner.lower()]
    if named and outcome != float(named == [first]):
        raise Unknown(f"winner {value!r}, which is a side of the table and, in capitals, the other side's {named[0]!r}")
    return outcome


def number_in(row: Row, column: str, low: float, high: float, number: int) -> float:
    """A finite number in [low, high]. Raises Unknown without one, ValueError for any other value."""
    try:
        value = math.nan if missing(row.get(column)) else float(row[column])
    except (TypeError, ValueError):
        raise ValueError(f"row {number} has {column} {row[column]!r}; it must be a number") from None
    if math.isnan(value):
        raise Unknown(f"{column} is missing or nan")
    if not low <= value <= high or math.isinf(value):
        rule = f"lies between {low} and {high}" if high < math.inf else f"must be finite and at least {low}"
        raise ValueError(f"row {number} has {column} {value}; it {rule}")
    return value


def player_name(value: Any) -> str:
    """Without the blanks around it, which a CSV file keeps."""
    return str(value).strip()


def missing(value: Any) -> bool:
    """Nothing at all, or an empty text."""
    return missing_text(value) or (isinstance(value, str) and not value)


def missing_number(value: Any) -> bool:
    """Nothing, or what a CSV file writes for it."""
    return missing(value) or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


def missing_text(value: Any) -> bool:
    """Whether there is nothing at all: None, nan, or pandas' marks; an empty text is a text."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")
