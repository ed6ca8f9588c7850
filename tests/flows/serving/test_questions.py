"""What became of a question that a retraining asked, as the Prefect server says it."""

import json

import pytest

from flows.hosting import login, servers
from flows.serving import questions

OPEN = ("PAUSED", "SCHEDULED", "RUNNING", "PENDING")


def state(kind, name="X", message=None):
    return 200, json.dumps({"state": {"type": kind, "name": name, "message": message}})


AGAIN = "; nobody is asked any more: plumb retrain --force asks again"


@pytest.mark.parametrize(("reply", "said"), [
    *((state(kind), None) for kind in OPEN), ((None, ""), None), ((500, "oh"), None), ((200, "{}"), None),
    (state("COMPLETED", "Promoted", "v2 is\nchampion"), "Promoted: v2 is champion"),
    (state("FAILED", "Failed"), f"Failed: no reason given{AGAIN}"), (state("CANCELLED", "Cancelled", "by ada"),
                                                                   f"Cancelled: by ada{AGAIN}"),
    ((404, ""),
     f"the Prefect server at http://here/api has no run r, which was deleted, or is another's{AGAIN}"),
])  # fmt: skip
def test_a_question_is_open_until_its_run_is_over_or_gone(tmp_path, monkeypatch, reply, said):
    monkeypatch.setattr(servers, "running_prefect", lambda root: "http://ada:hush@here/api")
    monkeypatch.setattr(login, "get", lambda *how: reply)
    assert questions.ending(tmp_path, "r") == said


def test_without_a_server_nobody_knows(tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "running_prefect", lambda root: None)
    assert questions.ending(tmp_path, "r") is None
