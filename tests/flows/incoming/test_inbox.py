"""The inbox where no server is needed: addresses and settings that cannot be right."""

import pytest

from flows.incoming.inbox import Inbox, InboxError
from tests.support.ports import closed_port


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with closed_port() as port:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": f"http://me:hidden-login@127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "hidden-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.parametrize("url", ["box/in", "https://box/in", "s3://", "s3:///in"])
def test_an_address_that_is_none(url):
    with pytest.raises(InboxError, match="is no inbox; write it as s3://BUCKET/PREFIX"):
        Inbox(url, 1)


def test_nobody_answers():
    with pytest.raises(InboxError, match=r"http://127.0.0.1:\d+ does not answer .*check AWS_ENDPOINT_URL_S3") as failed:
        Inbox("s3://box/in", 1).objects()
    assert failed.value.may_pass and "hidden" not in str(failed.value)


def test_no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InboxError, match="no S3 credentials for s3://box/in; set AWS_ACCESS_KEY_ID and") as failed:
        Inbox("s3://box/in", 1).objects()
    assert not failed.value.may_pass


def test_an_endpoint_that_is_none(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "not an address")
    with pytest.raises(InboxError, match="s3://box/in cannot be read: Invalid endpoint: not an address"):
        Inbox("s3://box/in", 1)
