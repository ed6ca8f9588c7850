"""Small arithmetic of metrics: means, shares, and numbers that print and reproduce well."""

from __future__ import annotations

import json
import math
from typing import Mapping, Sequence


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Round to what reproduces and reads well; a NaN is an error of ours."""
    assert all(math.isfinite(value) for value in metrics.values()), json.dumps(dict(metrics))
    return {key: float(f"{value:.8g}") for key, value in metrics.items()}


def mean(values: Sequence[float]) -> float:
    """The mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def share(flags: Sequence[float], total: int | None = None) -> float:
    """The sum of `flags` over `total` (by default their number), rounded; 0 of nothing."""
    return round(sum(flags) / max(len(flags) if total is None else total, 1), 8)
