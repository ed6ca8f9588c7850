"""A hard limit on calls and money: what is under way is reserved at its worst case, so the limit is never passed."""

import asyncio
from dataclasses import dataclass, field


class BudgetEnded(Exception):
    """There is no room for one more call."""


@dataclass
class Budget:
    """`max_calls` and `max_cost` (in the currency of the judges' prices); None is no limit.

    Whoever asks first is served first, and waits while what others have reserved may still be given back: so which
    questions are asked depends on their order and their costs, not on how fast the answers come.
    """

    max_calls: int | None = None
    max_cost: float | None = None
    calls: int = field(default=0, init=False)
    cost: float = field(default=0.0, init=False)
    exhausted: bool = field(default=False, init=False)
    _reserved: list[float] = field(default_factory=list, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def enter_loop(self) -> None:
        """To be called where a new event loop begins to use the budget: an event belongs to the loop that waits."""
        self._changed = asyncio.Event()

    async def reserve(self, worst_cost: float) -> bool:
        """Set aside one call of at most `worst_cost`; False where the limit leaves no room for it, now or later."""
        while not self.fits(worst_cost):
            if not self._reserved:
                self.exhausted = True
                return False
            self._changed.clear()
            await self._changed.wait()
        self._reserved.append(worst_cost)
        return True

    def settle(self, worst_cost: float, cost: float, calls: int = 1) -> None:
        """A reserved call came to its end and cost `cost`."""
        self._reserved.remove(worst_cost)
        self.calls += calls
        self.cost += cost
        self._changed.set()

    def call_again(self) -> None:
        """A reserved call was refused and cost nothing: it counts, and another takes its place.

        Raises BudgetEnded where there is no room for that.
        """
        if self.max_calls is not None and self.calls + len(self._reserved) >= self.max_calls:
            self.exhausted = True
            raise BudgetEnded
        self.calls += 1

    def fits(self, worst_cost: float) -> bool:
        """Whether there is room for one more call, beside all that is reserved."""
        calls = self.calls + len(self._reserved) + 1
        cost = self.cost + sum(self._reserved) + worst_cost
        return (self.max_calls is None or calls <= self.max_calls) and (
            self.max_cost is None or cost <= self.max_cost * (1 + 1e-9)  # sums of floats
        )
