"""When the next call to an endpoint may start: at once, until it refuses one after the other; then as it was seen to
answer."""

import asyncio
import time

_IN_A_ROW = 4  # refusals without an answer between: no chance, but a limit on the rate
_QUICKER_AFTER = 30  # answers without such refusals
_QUICKER, _SLOWER = 0.9, 2.0  # times the seconds between calls
_LONGER = 1.05  # times the pause asked for: clocks differ, and servers round


class Pace:
    """The rate of calls to one endpoint. It has no limit until the endpoint says that there are too many calls."""

    def __init__(self) -> None:
        self.interval = 0.0  # seconds between the starts of calls
        self._next = 0.0  # when the next call may start, as all times by the monotonic clock
        self._since = time.monotonic()  # answers are counted from here
        self._answered = self._refused = 0

    async def turn(self) -> None:
        """Wait until the next call may start."""
        while (wait := self._next - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._next = max(self._next, time.monotonic() - self.interval) + self.interval

    def answered(self) -> None:
        self._answered, self._refused = self._answered + 1, 0
        if self._answered % _QUICKER_AFTER == 0:
            self.interval *= _QUICKER

    def refused(self, pause: float, started: float) -> None:
        """A call that began at `started` came too soon; the server asks for a pause of so many seconds.

        After a few in a row no call starts before the pause is over, and then as many a second as were answered since
        the last such pause began, that one included. Where none was answered, half as many as before:
        a rate that is too low is left again soon.
        """
        self._refused += 1
        if self._refused < _IN_A_ROW:
            return
        end = time.monotonic() + _LONGER * pause
        if started >= self._since:
            self.interval = (end - self._since) / self._answered if self._answered else self.interval * _SLOWER
            self._since, self._answered, self._refused = end, 0, 0
        self._next = max(self._next, end)
