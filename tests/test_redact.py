"""Secrets are named, not shown."""

import pytest

from flows.redact import redact, without_login


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
    "name", ["PGPASSWORD", "PREFECT_API_AUTH_STRING", "AWS_SESSION_TOKEN", "MINIO_SECRET", "SMTP_PASS"]
)
def test_names_that_tell_a_secret(name, monkeypatch):
    monkeypatch.setenv(name, "planted-value")
    assert redact("planted-value") == f"[{name}]"


def test_logins_leave_addresses():
    assert without_login("s3://host/p and https://ada:pw@host:5000/x@y") == "s3://host/p and https://host:5000/x@y"
    assert redact("git+https://token@host/r") == "git+https://host/r"
    assert without_login("mail ada@host") == "mail ada@host"


def test_what_a_stage_printed_is_cleaned_where_it_lies(tmp_path, monkeypatch):
    from flows.running import _without_secrets

    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-123456")
    log = tmp_path / "log.txt"
    log.write_text("an earlier attempt\n")
    offset = log.stat().st_size
    with log.open("a") as file:
        file.write("asking with sk-planted-123456 again\n")
    assert _without_secrets(log, offset) == "asking with [OPENAI_API_KEY] again\n"
    assert log.read_text() == "an earlier attempt\nasking with [OPENAI_API_KEY] again\n"
