"""Intervals of means where nothing differs, so that no resampling can show how little is known."""


def unanimous_interval(value: float, clusters: float, confidence: float) -> tuple[float, float]:
    """(low, high) of a mean in [0, 1] of which each of `clusters` independent units is `value`.

    What was never seen may be as frequent as q = 1 - (tail)^(1/clusters), and be all 0 or all 1. At a value of 0 or 1
    that is Clopper and Pearson's interval (1934).
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / clusters)
    return value * (1 - unseen), value + (1 - value) * unseen
