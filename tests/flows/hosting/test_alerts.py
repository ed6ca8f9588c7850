"""Alerts, posted to a real server."""

import pytest

from flows.hosting import alerts
from flows.hosting.alerts import Alert
from tests.support.retrain_services import mailbox

ALERT = Alert("toy: rejected. too much praise", "rejected", "http://prefect/runs/flow-run/1", "retrain", "toy")


def test_what_is_posted():
    with mailbox() as box:
        assert alerts.send(ALERT, box.url) is None
    assert box.letters == [
        {
            "text": "toy: rejected. too much praise", "verdict": "rejected", "run": "http://prefect/runs/flow-run/1",
            "flow": "retrain", "model": "toy",
        }
    ]  # fmt: skip


def test_a_connection_that_is_cut_is_tried_again():
    with mailbox(refuse=2) as box:
        assert alerts.send(ALERT, box.url) is None
    assert len(box.letters) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/hook/token-0123456789", "nonsense-token-0123456789"])
def test_an_address_that_does_not_answer_is_one_line_without_its_token(url):
    problem = alerts.send(ALERT, url)
    assert problem.startswith("the alert could not be sent to ") and "token" not in problem and "\n" not in problem


def test_a_refusal_is_one_line():
    with mailbox() as box:
        refused = alerts.send(ALERT, box.url.replace("/hook/", "/refuse/"))
    assert box.letters == [] and refused == "the alert was refused by 127.0.0.1: HTTP 403"


def test_the_address_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv(alerts.VARIABLE, "http://chat/hook")
    assert alerts.address() == "http://chat/hook"


def test_an_address_that_cannot_be_looked_up_is_one_line(monkeypatch):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv(alerts.VARIABLE, raising=False)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert alerts.tell(ALERT) == "no alert was sent: the block plumb-alert-url cannot be read: ConnectError"


def test_told_where_the_environment_says(monkeypatch):
    with mailbox() as box:
        monkeypatch.setenv(alerts.VARIABLE, box.url)
        assert alerts.tell(ALERT) is None
    assert len(box.letters) == 1


def test_the_page_of_a_run():
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://prefect:4200/api"}, restore_defaults={PREFECT_UI_URL}):
        assert alerts.run_page("1") == "http://prefect:4200/runs/flow-run/1"
    with temporary_settings({PREFECT_UI_URL: "https://flows.example.org"}):
        assert alerts.run_page("1") == "https://flows.example.org/runs/flow-run/1"
