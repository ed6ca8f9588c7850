"""Which stages go to which work pool: consecutive stages of one pool are one deployment run.

dvc.yaml's `meta.pool` says where a stage belongs. Each change of pool costs a handover by DVC's remote and the start of
a run, so stages of the pool at hand go first for as long as any can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.graph.stages import Stage

DEFAULT_POOL = "cpu"


@dataclass(frozen=True)
class Segment:
    """Stages of one pool, in an order in which they can run."""

    pool: str
    stages: tuple[str, ...]


def pool_of(stage: Stage) -> str:
    return str(stage.meta.get("pool", DEFAULT_POOL))


def segments(stages: Mapping[str, Stage]) -> list[Segment]:
    """The graph in segments: everything a stage reads is made in its own segment or an earlier one.

    stages: by name, in an order in which they can run.
    """
    waiting, done, chosen = list(stages), set(), []
    while waiting:
        ready = [name for name in waiting if done.issuperset(stages[name].upstream)]
        pool, taken = pool_of(stages[ready[0]]), []
        while ready:
            taken += [name for name in ready if pool_of(stages[name]) == pool]
            done.update(taken)
            waiting = [name for name in waiting if name not in done]
            here = [name for name in waiting if pool_of(stages[name]) == pool]
            ready = [name for name in here if done.issuperset(stages[name].upstream)]
        chosen.append(Segment(pool, tuple(taken)))
    return chosen


def with_upstream(stages: Mapping[str, Stage], targets: tuple[str, ...]) -> list[str]:
    """The targets and all that they follow from, in the order of `stages`."""
    wanted, todo = set(), list(targets)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += stages[name].upstream
    return [name for name in stages if name in wanted]


def deployments(segments: list[Segment], pools: Mapping[str, str]) -> list[tuple[str, Segment]]:
    """(deployment, segment) in their order.

    pools: flow.pools of params.yaml, pool to deployment. Raises ValueError for a pool that it does not name.
    """
    missing = sorted({segment.pool for segment in segments} - pools.keys())
    if missing:
        known = ", ".join(sorted(pools)) or "none"
        what = f"no deployment for pool {missing[0]!r} of dvc.yaml"
        raise ValueError(f"flow.pools in params.yaml names {what} (it has {known})")
    return [(pools[segment.pool], segment) for segment in segments]
