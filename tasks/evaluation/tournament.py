"""All models against each other on the same prompts, gold deciding: win rates with intervals, and ratings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from models.ratings.ratings import rate
from models.ratings.win_rates import win_rate
from models.statistics.bootstrap import Bootstrap


@dataclass(frozen=True, eq=False)
class Field:
    """Who takes part. `gold` and `length`: model -> (prompts,), gold's score and the characters of the answers, means
    over the samples of a prompt; `prompts` and `roots`: their ids and roots, in the same order."""

    gold: Mapping[str, np.ndarray]
    length: Mapping[str, np.ndarray]
    prompts: Sequence[str]
    roots: Sequence[str]


def win_rates(field: Field, model: str, reference: str, settings: Bootstrap) -> dict[str, Any]:
    """`win_rate` (ties half) and `win_rate_interval`; `length_controlled` (the authors') and `length_adjusted` (ours) with
    their intervals, None where the data hold no equal lengths, and `length_effect`."""
    found = win_rate(_battles(field, [(model, reference), (reference, model)]), model, reference, settings=settings)
    rates = {"length_controlled": found.length_controlled, "length_adjusted": found.length_adjusted}
    return {
        "win_rate": found.raw.value,
        "win_rate_interval": found.raw.document(),
        **{name: rate and rate.document() for name, rate in rates.items()},
        "length_effect": found.length_effect,
    }


def ratings(field: Field, settings: Bootstrap) -> dict[str, Any]:
    """Bradley–Terry strengths of a round robin, as `models.ratings.ratings.Ratings.document`; nobody is shown first."""
    return rate(_battles(field, list(combinations(field.gold, 2))), order_effect=False, settings=settings).document()


def _battles(field: Field, pairs: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """One battle per pair and prompt, as columns that `models.ratings.battles.read_battles` reads."""
    table: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for first, second in pairs:
        won = 0.5 + 0.5 * np.sign(field.gold[first] - field.gold[second])
        count = len(won)
        lengths = (field.length[first], field.length[second])
        columns = (field.prompts, field.roots, [first] * count, [second] * count, won, *lengths)
        for name, values in zip(_COLUMNS, columns, strict=True):
            table[name] += list(values)
    return table


_COLUMNS = ("prompt_id", "root", "first", "second", "p_first", "first_length", "second_length")
