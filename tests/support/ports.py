"""Ports on this machine for tests: one to listen on, and one where nobody listens."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"
# Below what Linux (32768) and others hand out to connections that go out: whoever binds to port 0, closes the socket
# and starts a server on that port seconds later may find it taken by a connection of somebody else.
NEVER_HANDED_OUT = range(20_000, 30_000)


def free_port() -> int:
    """A port for a server that is about to start; only another call of this, in the same seconds, could draw it too."""
    drawn = random.SystemRandom()  # tests seed the shared one
    while True:
        port = drawn.choice(NEVER_HANDED_OUT)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody can take inside."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]
