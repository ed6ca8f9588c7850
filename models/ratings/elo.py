"""Elo: ratings updated battle by battle. For display only, because they depend on the order of the battles."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.ratings.battles import Battles, read_battles


@dataclass(frozen=True)
class Elo:
    """`rating` in the table's order; `low` and `high`, its least and largest value over that and shuffled orders."""

    rating: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """How far the order of the same battles alone moves the rating, in Elo points."""
        return self.high - self.low


def elo(table: Any, *, k: float = 4.0, initial: float = 1000.0, orders: int = 20, seed: int = 0) -> dict[str, Elo]:
    """Online Elo of each model in the table's order, with its range over `orders` random orders of the same battles.

    Args:
        table: any table that `models.ratings.battles.read_battles` takes, or its result.
        k: points that a battle can move (4 on the Chatbot Arena, 32 in chess among beginners).

    Expected points are 1 / (1 + 10^((theirs - ours) / 400)) (Elo 1978). Raises ValueError as `read_battles` does.
    """
    battles = table if isinstance(table, Battles) else read_battles(table)
    count = len(battles.first)
    generator = np.random.default_rng(seed)
    places = np.stack([np.arange(count), *(generator.permutation(count) for _ in range(orders))], axis=1)
    ratings, column = np.full((len(battles.models), orders + 1), initial), np.arange(orders + 1)
    for place in places:
        first, second = battles.first[place], battles.second[place]
        ours, theirs = ratings[first, column], ratings[second, column]
        gain = k * (battles.p_first[place] - 1 / (1 + 10 ** ((theirs - ours) / 400)))
        ratings[first, column] = ours + gain
        ratings[second, column] = theirs - gain
    return {
        name: Elo(float(row[0]), float(row.min()), float(row.max()))
        for name, row in zip(battles.models, ratings, strict=True)
    }
