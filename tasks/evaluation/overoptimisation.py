"""Gold against proxy over √KL, for best-of-n and for the checkpoints of PPO and DPO: a part of evaluate.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.statistics import intervals as statistics
from models.statistics.best_of_n import best_of_n, kl_upper_bound
from models.statistics.intervals import Bounds
from models.statistics.overoptimisation import LEAST_POINTS, Curve, Form, best_of_n_kls, distinct_kls, fit_curve
from tasks.config.evaluate import EvaluateConfig

FORMS: Mapping[str, Form] = {"best_of_n": "best_of_n"}  # of methods: "rl"


def over_optimisation(
    cfg: EvaluateConfig,
    pool: Mapping[str, np.ndarray],
    gains: Mapping[str, Sequence[Mapping[str, Any]]],
    roots: Sequence[str],
    bounds: Bounds = None,
) -> dict[str, Any]:
    """{"best_of_n" | "ppo" | "dpo" | …: {"points": [...], "fit": {...} | None, "why_not": str | None}}.

    A point: `kl` in nats, `distance` √KL, `gold` and `proxy` gained over SFT, with `gold_interval` and
    `proxy_interval`. Best-of-n's KL is the estimate of
    `best_of_n_kls`, with the classic bound beside it as `kl_upper_bound`.

    Args:
        pool: `gold`, `proxy` and `logprob`, each (prompts, samples).
        gains: by method, its points in training order as `checkpoint`, `kl`, and `gold` and `proxy` per prompt, gained
            over SFT on the same prompts, (prompts,) in the order of `roots`.
        roots: of the pool's prompts, in the pool's order, which is that of `gains`, too.
        bounds: gold's least and largest value; None for a gold without.
    """
    methods = {"best_of_n": best_of_n_points(pool), **gains}
    return {name: _of_method(cfg, FORMS.get(name, "rl"), points, roots, bounds) for name, points in methods.items()}


def best_of_n_points(pool: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One point for each n, gains over n = 1."""
    gold, proxy = (best_of_n(pool["proxy"], pool[field]) for field in ("gold", "proxy"))
    kls = best_of_n_kls(pool["proxy"], pool["logprob"]).mean(axis=0)
    return [
        {
            "n": n, "kl": float(kls[n - 1]), "kl_upper_bound": kl_upper_bound(n),
            "gold": gold[:, n - 1] - gold[:, 0], "proxy": proxy[:, n - 1] - proxy[:, 0],
        }
        for n in range(1, gold.shape[1] + 1)
    ]


def _of_method(
    cfg: EvaluateConfig, form: Form, points: Sequence[Mapping[str, Any]], roots: Sequence[str], bounds: Bounds
) -> dict[str, Any]:
    kl = [point["kl"] for point in points]
    known = distinct_kls(kl)
    fit = None
    if known >= LEAST_POINTS:
        gains = np.stack([point["gold"] for point in points], axis=1)
        fit = fit_curve(form, kl, gains.mean(axis=0), gains, roots, cfg.confidence)
    return {
        "points": [_shown(cfg, point, roots, bounds) for point in points],
        "fit": None if fit is None else _fit_document(fit),
        "why_not": None if fit else f"{known} different KLs above 0; a curve needs {LEAST_POINTS}",
    }


def _shown(
    cfg: EvaluateConfig, point: Mapping[str, Any], roots: Sequence[str], bounds: Bounds
) -> dict[str, Any]:
    """A point with the means of what was gained and their intervals, gold's within its bounds; the proxy has none.

    A KL below zero is noise around zero, and has no distance.
    """
    shown = {**point, "distance": float(np.sqrt(point["kl"])) if point["kl"] >= 0 else None}
    for field, limits in (("gold", bounds), ("proxy", None)):
        interval = statistics.difference_interval(point[field], np.zeros(len(roots)), roots, cfg.confidence, limits)
        shown |= {field: float(np.mean(point[field])), f"{field}_interval": [interval.low, interval.high]}
    return shown


def _fit_document(curve: Curve) -> dict[str, Any]:
    return {
        "form": "d (alpha - beta d)" if curve.form == "best_of_n" else "d (alpha - beta log d)",
        "alpha": curve.alpha, "beta": curve.beta, "peak_distance": curve.peak,
        "alpha_interval": list(curve.alpha_interval or ()), "beta_interval": list(curve.beta_interval or ()),
    }
