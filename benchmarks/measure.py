"""Two ways of doing the same work, timed in turn, and what was promised about them."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, NamedTuple, TypeVar

Run = TypeVar("Run")


class Cost(NamedTuple):
    """Seconds of the clock, and seconds of processor time of this process and its children."""

    wall: float
    cpu: float

    def scaled(self, factor: float) -> Cost:
        return Cost(self.wall * factor, self.cpu * factor)


Way = Callable[[], Cost]


def processor_seconds() -> float:
    """Processor time so far of this process and of its children that have ended.

    Not by os.times, which counts in hundredths of a second: short work would cost nothing.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(work: Callable[[], Any]) -> Cost:
    """What `work()` costs."""
    before, started = processor_seconds(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - started, processor_seconds() - before)


@dataclass(frozen=True)
class Promise:
    """What a comparison must show: `number` of the pair (ours, theirs), in seconds, within `limit`."""

    text: str
    limit: float
    at_most: bool
    unit: str
    number: Callable[[float, float], float]

    def kept(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


def time_ratio_at_most(limit: float) -> Promise:
    return Promise(f"at most {limit:g}x the time", limit, True, "x", lambda ours, theirs: ours / theirs)


def times_faster_at_least(limit: float) -> Promise:
    return Promise(f"at least {limit:g}x faster", limit, False, "x", lambda ours, theirs: theirs / ours)


def seconds_above_at_most(limit: float) -> Promise:
    return Promise(f"at most {limit:g} s above", limit, True, "s", lambda ours, theirs: ours - theirs)


@dataclass(frozen=True)
class Comparison:
    """The repeats of one comparison; the i-th of `ours` ran next to the i-th of `theirs`."""

    name: str
    ours: tuple[Cost, ...]
    theirs: tuple[Cost, ...]
    promise: Promise
    note: str = ""

    def of_medians(self, clock: str = "wall") -> float:
        """The promised number, of the median times; `clock` is wall or cpu."""
        return self.promise.number(median(self.times("ours", clock)), median(self.times("theirs", clock)))

    def pairs(self, clock: str = "wall") -> tuple[float, ...]:
        """The promised number of each pair of neighbours in time."""
        both = zip(self.times("ours", clock), self.times("theirs", clock), strict=True)
        return tuple(self.promise.number(ours, theirs) for ours, theirs in both)

    def times(self, side: str, clock: str = "wall") -> tuple[float, ...]:
        return tuple(getattr(cost, clock) for cost in getattr(self, side))

    @property
    def kept(self) -> bool:
        """Judged on the median pair: what slows the whole machine for a while slows both of a pair."""
        return self.promise.kept(median(self.pairs()))

    def document(self) -> dict[str, Any]:
        def rounded(values: Sequence[float]) -> list[float]:
            return [round(value, 4) for value in values]

        clocks = {
            clock: {
                **{f"{side}_seconds": rounded(self.times(side, clock)) for side in ("ours", "theirs")},
                "of_medians": round(self.of_medians(clock), 4),
                "median_of_pairs": round(median(self.pairs(clock)), 4), "pairs": rounded(self.pairs(clock)),
            } for clock in Cost._fields
        }  # fmt: skip
        return {"name": self.name, **clocks, "unit": self.promise.unit, "promise": self.promise.text,
                "kept": self.kept, "note": self.note}  # fmt: skip


def alternate(ours: Way, theirs: Way, repeats: int) -> tuple[tuple[Cost, ...], tuple[Cost, ...]]:
    """Costs of `repeats` runs of each, in turn; who goes first changes, so that neither always finds a warm machine.

    Each way times itself. Raises ValueError for fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats={repeats} must be at least 1")
    costs: dict[Way, list[Cost]] = {ours: [], theirs: []}
    for repeat in range(repeats):
        for way in (ours, theirs) if repeat % 2 == 0 else (theirs, ours):
            gc.collect()
            costs[way].append(way())
    return tuple(costs[ours]), tuple(costs[theirs])


def race(
    run: Callable[[str, int], Run], cost: Callable[[Run], Cost], repeats: int
) -> tuple[dict[str, list[Run]], tuple[tuple[Cost, ...], tuple[Cost, ...]]]:
    """What `run(side, repeat)` gave for both sides, in turn, and the costs in it. Raises as `alternate`."""
    runs: dict[str, list[Run]] = {"ours": [], "theirs": []}

    def once(side: str) -> Cost:
        runs[side].append(run(side, len(runs[side])))
        return cost(runs[side][-1])

    costs = alternate(partial(once, "ours"), partial(once, "theirs"), repeats)
    return runs, costs
