"""The logins of the servers, which come from the environment alone, and one line where one is refused.

Prefect takes PREFECT_API_AUTH_STRING, MLflow MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or a token.
"""

import base64
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

from flows.redact import without_login

PREFECT_CLIENT, PREFECT_SERVER = "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"
MLFLOW_USER, MLFLOW_PASSWORD, MLFLOW_TOKEN = (
    f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN")
)  # fmt: skip
REFUSED = 401
MLFLOW_REFUSALS = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
SECONDS = 10.0


def prefect_headers() -> dict[str, str]:
    """What a request to the Prefect server of this environment says about itself."""
    auth = os.environ.get(PREFECT_CLIENT)
    return {"Authorization": f"Basic {_encoded(auth)}"} if auth else {}


def as_client() -> None:
    """Whoever starts a server, and so knows what it asks for, may log in there."""
    if os.environ.get(PREFECT_SERVER):
        os.environ.setdefault(PREFECT_CLIENT, os.environ[PREFECT_SERVER])


def check_prefect(api: str) -> None:
    """Raises ValueError when the server at `api` refuses the login; a server that does not answer is not our matter."""
    if get(f"{api}/admin/version", prefect_headers())[0] == REFUSED:
        raise ValueError(
            f"the Prefect server at {without_login(api)} refuses the login; set {PREFECT_CLIENT} to the server's "
            f"{PREFECT_SERVER}"
        )


def check_mlflow() -> None:
    """Raises ValueError when the MLflow server of this environment refuses the login. A file of runs has none."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if not uri.startswith(("http://", "https://")):
        return
    if get_mlflow("/api/2.0/mlflow/experiments/get?experiment_id=0")[0] == REFUSED:
        raise ValueError(mlflow_advice())


def get_mlflow(path: str) -> tuple[int | None, str]:
    """HTTP status and text of a GET from the MLflow server of this environment; (None, "") where nobody answers."""
    address, headers = _mlflow_request(os.environ["MLFLOW_TRACKING_URI"])
    return get(f"{address}{path}", headers)


def refused_by_mlflow(error: Exception) -> bool:
    """Whether MLflow's client was told 401."""
    return type(error).__module__.startswith("mlflow.") and getattr(error, "error_code", "") in MLFLOW_REFUSALS


def mlflow_advice() -> str:
    """What to do when MLflow says so."""
    return (
        f"the MLflow server at {without_login(os.environ['MLFLOW_TRACKING_URI'])} refuses the login; set {MLFLOW_USER} "
        f"and {MLFLOW_PASSWORD}, or {MLFLOW_TOKEN}"
    )


def _mlflow_request(uri: str) -> tuple[str, dict[str, str]]:
    """The address without a login, and the headers that MLflow's client would send."""
    parts = urlsplit(uri)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
    user, password = os.environ.get(MLFLOW_USER), os.environ.get(MLFLOW_PASSWORD)
    if user and password:
        return address, {"Authorization": f"Basic {_encoded(f'{user}:{password}')}"}
    if token := os.environ.get(MLFLOW_TOKEN):
        return address, {"Authorization": f"Bearer {token}"}
    if parts.username:
        return address, {"Authorization": f"Basic {_encoded(unquote(parts.netloc.rpartition('@')[0]))}"}
    return address, {}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def get(url: str, headers: Mapping[str, str], seconds: float = SECONDS) -> tuple[int | None, str]:
    """HTTP status and text of a GET; (None, "") where nobody answers. Clients take seconds to import."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  an address of the user's own
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, ""
    except (OSError, ValueError):
        return None, ""
