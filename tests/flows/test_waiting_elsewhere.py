"""Waiting for a run on another machine, while the Prefect server between the two comes and goes."""

from types import SimpleNamespace

import httpx
import pytest
from prefect.states import Completed, Running

from flows import cancelling


class Client:
    """Answers with what stands in `replies`, the last one again and again."""

    def __init__(self, *replies):
        self.replies = list(replies)

    def read_flow_run(self, run_id):
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return SimpleNamespace(id=run_id, state=reply)


AWAY = [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"),
        httpx.HTTPStatusError("502", request=None, response=None)]  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(cancelling, "POLL_SECONDS", 0.001)


def test_a_server_that_comes_back_ends_no_wait():
    client = Client(Running(), *AWAY, Running(), *AWAY, Completed())
    assert cancelling._ended(client, SimpleNamespace(id="r", state=None)).state.is_completed()


def test_a_server_that_stays_away_ends_it(monkeypatch):
    monkeypatch.setattr(cancelling, "SERVER_SECONDS", 0.05)
    with pytest.raises(httpx.ConnectError):
        cancelling._ended(Client(AWAY[0]), SimpleNamespace(id="r", state=Running()))


def test_patience_ends_it():
    assert cancelling._ended(Client(Running()), SimpleNamespace(id="r", state=None), 0.05).state.is_running()
