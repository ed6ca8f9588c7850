"""All models against each other on the same prompts, gold deciding: win rates with intervals, and ratings."""

from collections import defaultdict
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
    """`win_rate` (ties half) and `win_rate_interval`; `length_controlled` (the authors') and `length_adjusted` (ours)
    with their intervals, None where the data hold no equal lengths, and `length_effect`."""
    rates = win_rate(battles(field, [(model, reference), (reference, model)]), model, reference, settings=settings)
    return {
        "win_rate": rates.raw.value,
        "win_rate_interval": rates.raw.document(),
        "length_controlled": rates.length_controlled and rates.length_controlled.document(),
        "length_adjusted": rates.length_adjusted and rates.length_adjusted.document(),
        "length_effect": rates.length_effect,
    }


def ratings(field: Field, settings: Bootstrap) -> dict[str, Any]:
    """Bradley–Terry strengths of a round robin, as `models.ratings.ratings.Ratings.document`; nobody is shown first."""
    return rate(battles(field, list(combinations(field.gold, 2))), order_effect=False, settings=settings).document()


def battles(field: Field, pairs: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    """One battle per pair and prompt, as columns that `models.ratings.battles.read_battles` reads."""
    table: dict[str, list[Any]] = defaultdict(list)
    for first, second in pairs:
        won = 0.5 + 0.5 * np.sign(field.gold[first] - field.gold[second])
        names = {"first": [first] * len(won), "second": [second] * len(won)}
        lengths = {"first_length": field.length[first], "second_length": field.length[second]}
        for column, values in {
            "prompt_id": field.prompts, "root": field.roots, **names, "p_first": won, **lengths
        }.items():
            table[column] += list(values)
    return table
