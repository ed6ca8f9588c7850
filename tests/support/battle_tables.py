"""Battles with known parameters, for the tests of ratings and win rates."""

import numpy as np
from scipy.special import expit

from models.ratings.battles import Battles


def battles(first, second, p_first, prompt, lengths=None, markdown=None) -> Battles:
    """Arrays as battles; models are m00, m01, …"""
    count, models = len(first), int(max(np.max(first), np.max(second))) + 1
    return Battles(
        models=tuple(f"m{number:02d}" for number in range(models)),
        first=np.asarray(first),
        second=np.asarray(second),
        p_first=np.asarray(p_first, dtype=float),
        prompts=tuple(str(number) for number in range(int(np.max(prompt)) + 1)),
        prompt=np.asarray(prompt),
        root=np.asarray(prompt),
        lengths=np.full((count, 2), np.nan) if lengths is None else lengths,
        markdown=np.full((count, 2, 3), np.nan) if markdown is None else markdown,
        texts=np.full((count, 2), -1),
        notes=(),
    )


def ordered_pairs(models: int) -> tuple[np.ndarray, np.ndarray]:
    """Every ordered pair of models: (first, second)."""
    first, second = (grid.ravel() for grid in np.meshgrid(range(models), range(models)))
    return first[first != second], second[first != second]


def round_robin(
    generator: np.random.Generator, strengths: np.ndarray, order_effect: float, prompts: int, spread: float
) -> Battles:
    """Each ordered pair once per prompt. On each prompt the strengths are off by normal errors of deviation `spread`,
    so that battles of one prompt belong together."""
    first, second = ordered_pairs(len(strengths))
    prompt = np.repeat(np.arange(prompts), len(first))
    first, second = np.tile(first, prompts), np.tile(second, prompts)
    here = strengths + generator.normal(0, spread, (prompts, len(strengths)))
    chance = expit(here[prompt, first] - here[prompt, second] + order_effect)
    return battles(first, second, generator.random(len(first)) < chance, prompt)


def mean_battles(strengths: np.ndarray, order_effect: float, spread: float) -> Battles:
    """What `round_robin` tends to with ever more prompts: one battle per ordered pair, its outcome the expected one."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    first, second = ordered_pairs(len(strengths))
    gaps = (strengths[first] - strengths[second] + order_effect)[:, None] + np.sqrt(2) * spread * nodes
    return battles(first, second, expit(gaps) @ weights / weights.sum(), np.zeros(len(first), dtype=int))
