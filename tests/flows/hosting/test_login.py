"""Logins come from the environment, and a refused one is one line that names the variables."""

import base64

import pytest

from flows.hosting import login
from tests.support.http_server import Reply, serving

KNOWN = ("Basic " + base64.b64encode(b"ada:pw/7").decode(), "Bearer token-1")


@pytest.fixture()
def address(monkeypatch):
    """Of a server that answers 200 to who says "ada:pw/7", or brings the token, and 401 to everybody else."""
    mlflow = (login.MLFLOW_USER, login.MLFLOW_PASSWORD, login.MLFLOW_TOKEN)
    for name in (login.PREFECT_CLIENT, login.PREFECT_SERVER, *mlflow):
        monkeypatch.setenv(name, "")  # known, so that what is set on the way is taken back
        monkeypatch.delenv(name)
    with serving(lambda request: Reply(200 if request.headers.get("Authorization") in KNOWN else 401)) as url:
        yield url.removeprefix("http://")


def test_prefect(address, monkeypatch):
    with pytest.raises(ValueError, match=f"http://{address}/api refuses the login; set PREFECT_API_AUTH_STRING"):
        login.check_prefect(f"http://{address}/api")
    monkeypatch.setenv(login.PREFECT_SERVER, "ada:pw/7")
    login.as_client()
    login.check_prefect(f"http://{address}/api")


@pytest.mark.parametrize(
    ("uri", "variables"),
    [
        ("http://{}", {login.MLFLOW_USER: "ada", login.MLFLOW_PASSWORD: "pw/7"}),
        ("http://{}/", {login.MLFLOW_TOKEN: "token-1"}),
        ("http://ada:pw%2F7@{}", {}),
    ],
)
def test_mlflow(address, monkeypatch, uri, variables):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(address))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    login.check_mlflow()


@pytest.mark.parametrize("uri", ["http://{}", "http://ada:planted@{}"])
def test_a_refused_login_is_one_line_without_it(address, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(address))
    with pytest.raises(ValueError) as error:
        login.check_mlflow()
    assert str(error.value) == (
        f"the MLflow server at http://{address} refuses the login; set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    )


def test_who_does_not_answer_refuses_nothing(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    login.check_mlflow()
    login.check_prefect("http://127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    login.check_mlflow()


def test_what_mlflow_says_is_understood():
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
    from mlflow.utils.rest_utils import verify_rest_response

    class Answer:
        status_code, text = 401, "You are not authenticated."

    with pytest.raises(MlflowException) as error:
        verify_rest_response(Answer(), "/api")
    assert login.refused_by_mlflow(error.value)
    assert not login.refused_by_mlflow(MlflowException("no", error_code=PERMISSION_DENIED))
    assert not login.refused_by_mlflow(ValueError("401"))
