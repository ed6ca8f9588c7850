"""Secrets are named, not shown."""

import traceback

import pytest

from flows.failure import Failure
from flows.incoming.inbox import InboxError
from flows.redact import redact, redacted_errors, secrets_in, without_login


def test_values_of_secret_variables_are_replaced_by_their_names(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted/secret+7")
    text = "401: wrong key sk-planted-123456 (planted/secret+7)"
    assert redact(text) == "401: wrong key [OPENAI_API_KEY] ([AWS_SECRET_ACCESS_KEY])"


def test_of_two_secrets_that_overlap_the_longer_goes_first(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "planted-1")
    monkeypatch.setenv("B_TOKEN", "planted-1-and-more")
    assert redact("planted-1-and-more planted-1") == "[B_TOKEN] [A_TOKEN]"


def test_short_values_and_other_variables_stay(monkeypatch):
    monkeypatch.setenv("SORT_KEY", "name")
    for name in ("HARMLESS", "MAX_TOKENS", "TOKENIZERS_PARALLELISM", "TLS_KEY_PATH"):
        monkeypatch.setenv(name, "planted-value")
    assert redact("name planted-value") == "name planted-value"


@pytest.mark.parametrize(
    "name", ["PGPASSWORD", "PREFECT_API_AUTH_STRING", "AWS_SESSION_TOKEN", "MINIO_SECRET", "SMTP_PASS", "PLUMB_ALERT_URL"]
)
def test_names_that_tell_a_secret(name, monkeypatch):
    monkeypatch.setenv(name, "planted-value")
    assert redact("planted-value") == f"[{name}]"


def test_logins_leave_addresses():
    assert without_login("s3://host/p and https://ada:pw@host:5000/x@y") == "s3://host/p and https://host:5000/x@y"
    assert redact("git+https://token@host/r") == "git+https://host/r"
    assert redact("http://ada:p@ss@host/r, 'http://host', 'ada@host'") == "http://host/r, 'http://host', 'ada@host'"
    assert without_login("mail ada@host") == "mail ada@host"


def test_what_a_stage_printed_is_cleaned_where_it_lies(tmp_path, monkeypatch):
    from flows.graph.running import _without_secrets

    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    log = tmp_path / "log.txt"
    log.write_text("an earlier attempt\n")
    offset = log.stat().st_size
    with log.open("a") as file:
        file.write("asking with sk-planted-123456 again\n")
    assert _without_secrets(log, offset) == "asking with [OPENAI_API_KEY] again\n"
    assert log.read_text() == "an earlier attempt\nasking with [OPENAI_API_KEY] again\n"


def test_an_error_under_prefect_tells_no_secret(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    with pytest.raises(ValueError) as raised, redacted_errors():
        raise RuntimeError("no answer from http://ada:pw@host:5000 with\nsk-planted-123456")
    assert str(raised.value) == "no answer from http://host:5000 with [OPENAI_API_KEY]"
    assert raised.value.__suppress_context__, "the traceback must not tell it either"
    with pytest.raises(RuntimeError, match="^harmless$"), redacted_errors():
        raise RuntimeError("harmless")


def test_what_an_error_came_from_tells_no_secret_either():
    """Prefect logs the whole chain. The error itself stays what it is: who retries looks at it."""
    with pytest.raises(InboxError, match="does not answer") as raised, redacted_errors():
        try:
            raise ConnectionError("no answer from http://ada:planted@host:5000")
        except ConnectionError as error:
            raise InboxError("the inbox does not answer", may_pass=True) from error
    assert raised.value.may_pass
    assert "planted" not in "".join(traceback.format_exception(raised.value))


def test_whether_trying_again_helps_is_kept():
    with pytest.raises(Failure, match="^http://host:5000 is busy$") as raised, redacted_errors():
        raise InboxError("http://ada:planted@host:5000 is busy", may_pass=True)
    assert raised.value.may_pass


def test_secrets_are_found_in_bytes(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    monkeypatch.setenv("SHORT_TOKEN", "harmless"[:7])
    assert secrets_in(b"\x00\xffsk-planted-123456\x00 harmless") == ["OPENAI_API_KEY"]
    assert secrets_in(b"harmless") == []


def test_params_that_hold_a_secret_are_refused(tmp_path, monkeypatch):
    from flows import settings
    from flows.storage import workspace
    from tests.support import toy

    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    folder = toy.make_toy(tmp_path)
    with pytest.raises(ValueError, match="^--set holds the value of OPENAI_API_KEY; take it out, credentials"):
        workspace.params_text(folder, None, {"first.value": "sk-planted-123456"})
    with (folder / "params.yaml").open("a") as params:
        params.write("judge: {key: sk-planted-123456}\n")
    with pytest.raises(ValueError, match="params.yaml holds the value of OPENAI_API_KEY") as raised:
        settings.read_settings(folder)
    assert "planted" not in str(raised.value)


def test_a_file_that_holds_a_secret_does_not_enter_mlflow(tmp_path, monkeypatch):
    from flows.history.records import _within

    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text("{}")
    bad.write_text('{"key": "sk-planted-123456"}')
    assert _within([bad, good], 1e6) == [good]
