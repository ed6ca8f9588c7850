"""Best-of-n sampling: the baseline that needs no training, for every n from one pool of N samples."""

from math import comb, log

import numpy as np


def best_of_n(proxy: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Expected gold score of the best of n samples by the proxy, unbiased, for n = 1 … N from one pool.

    Σ_i C(i−1, n−1) / C(N, n) · gold_(i), samples ranked ascending by the proxy (App. I, arXiv:2112.09332).

    Args:
        proxy, gold: (prompts, N) scores of the same samples.

    Returns:
        (prompts, N): column n − 1 is best-of-n. Among equal proxies the earlier sample ranks higher.

    Raises:
        ValueError: shapes differ or there is no sample.
    """
    proxy, gold = np.asarray(proxy, dtype=float), np.asarray(gold, dtype=float)
    if proxy.shape != gold.shape or proxy.ndim != 2 or proxy.shape[1] == 0:
        raise ValueError(f"proxy {proxy.shape} and gold {gold.shape} must both be (prompts, N) with N at least 1")
    size = proxy.shape[1]
    rising = size - 1 - np.argsort(proxy[:, ::-1], axis=1, kind="stable")  # the earlier of equals last, as for argmax
    ranked = np.take_along_axis(gold, rising, axis=1)
    weights = np.array([[comb(i, n - 1) / comb(size, n) for n in range(1, size + 1)] for i in range(size)])
    return ranked @ weights


def winners(proxy: np.ndarray, n: int) -> np.ndarray:
    """Index (prompts,) of the best of each prompt's first n samples by the proxy; the earliest among equals.

    Raises:
        ValueError: n is not between 1 and N, or a score is not finite.
    """
    proxy = np.asarray(proxy, dtype=float)
    if not 1 <= n <= proxy.shape[1]:
        raise ValueError(f"n={n} is not between 1 and the pool's {proxy.shape[1]} samples per prompt")
    if not np.isfinite(proxy).all():
        raise ValueError("a proxy score is not finite; check the reward model")
    return proxy[:, :n].argmax(axis=1)


def kl_upper_bound(n: int) -> float:
    """log n − (n − 1)/n nats: best-of-n's KL to its policy is at most this (arXiv:2401.01879)."""
    return log(n) - (n - 1) / n
