"""Battles and judged answers in a file, rated as plain documents. The statistics are those of `models`; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from models.ratings.battles import read_battles
from models.ratings.elo import elo
from models.ratings.length_control import LEAST_POOL, fit_pool
from models.ratings.ratings import rate
from models.ratings.win_rates import win_rate
from models.statistics.bootstrap import Bootstrap
from tasks.tools.tables import read_table


def rate_file(
    path: Path, *, order: bool = True, style: bool = False, anchor: str | None = None, with_elo: bool = False,
    settings: Bootstrap,
) -> dict[str, Any]:  # fmt: skip
    """`models.ratings.ratings.rate` on a file of battles, as a document; `elo` is in it where asked for."""
    battles = read_battles(read_table(path), markdown=style)
    document = rate(battles, order_effect=order, style=style, anchor=anchor, settings=settings).document()
    if with_elo:
        document["elo"] = {
            name: {field: getattr(rating, field) for field in ("rating", "low", "high", "spread")}
            for name, rating in elo(battles, seed=settings.seed).items()
        }
    return document


def win_rates_of_file(
    path: Path, against: str, models: Sequence[str] = (), *, pool: Path | None = None, settings: Bootstrap
) -> list[dict[str, Any]]:
    """Win rates of each of `models` (all that meet `against`, if none are named), as documents.

    `pool`: a file of judged answers of many models, which say how hard the prompts are and what the judge pays for
    length; by default the file itself, where `LEAST_POOL` models or more meet `against` in it, which a note says.
    """
    battles = read_battles(read_table(path))
    opponents = battles.opponents(against)
    fitted, notes = None, []
    if pool:
        fitted = fit_pool(read_table(pool), against)
    elif len(opponents) >= LEAST_POOL and not np.isnan(battles.lengths).any():
        fitted = fit_pool(battles, against)
        notes = [f"the pool is the file itself: {len(opponents)} models that met {against}"]
    rates = (win_rate(battles, name, against, pool=fitted, settings=settings) for name in models or opponents)
    documents = [rate.document() for rate in rates]
    return [{**document, "notes": document["notes"] + notes} for document in documents]
