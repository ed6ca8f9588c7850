"""How long the rest of a run will take, from what each stage took last time."""

from collections.abc import Mapping


def time_left(upstream: Mapping[str, tuple[str, ...]], left: Mapping[str, float], cores: int) -> float:
    """Seconds until all stages are done when `cores` of them can run side by side.

    upstream: what each stage waits for, in an order in which they can run. left: seconds that each still needs; 0 or
    absent when it is done. Stages start in the given order as soon as they can, which is what the flow does.
    """
    finish: dict[str, float] = {}
    free = [0.0] * cores
    waiting = [name for name in upstream if left.get(name, 0.0) > 0]
    while waiting:
        starts = {
            name: max([finish.get(up, 0.0) for up in upstream[name]], default=0.0)
            for name in waiting
            if not any(up in waiting for up in upstream[name])
        }
        core = min(range(cores), key=free.__getitem__)
        name = min(starts, key=lambda n: (max(starts[n], free[core]), waiting.index(n)))
        finish[name] = free[core] = max(starts[name], free[core]) + left[name]
        waiting.remove(name)
    return max(finish.values(), default=0.0)


def in_words(seconds: float) -> str:
    """12 s, 3 min 20 s, 1 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
