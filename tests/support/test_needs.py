"""What is missing fails in CI, and is skipped with a reason where a user runs the tests."""

import pytest

from tests.support import needs, postgres_server, s3_servers


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_server_that_is_not_installed(monkeypatch, tmp_path, ci, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(s3_servers, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(postgres_server, "FOLDERS", [])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PLUMB_CHROMIUM", raising=False)
    with pytest.raises(outcome, match=r"moto_server is not there; make .services/ready"):
        s3_servers.program("moto_server")
    with pytest.raises(outcome, match=r"no Postgres in /usr/lib/postgresql; apt-get install postgresql"):
        with postgres_server.postgres("password"):
            pass
    with pytest.raises(outcome, match=r"no Chromium; apt-get install chromium"):
        s3_servers.browser()
    with pytest.raises(outcome, match="^no GPU; buy one$"):
        needs.absent("no GPU", "buy one")
