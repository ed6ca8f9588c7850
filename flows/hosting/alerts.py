"""Tell people what needs them: one webhook call to the address in PLUMB_ALERT_URL, or in a Prefect block.

An alert is a JSON object with `text` (what chat services show), `verdict`, `run` (the flow run's page), `flow` and
`model`. The address is a secret: such addresses carry their token.
"""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import asdict, dataclass

VARIABLE, BLOCK = "PLUMB_ALERT_URL", "plumb-alert-url"
ATTEMPTS, SECONDS = 3, 10.0


@dataclass(frozen=True)
class Alert:
    """What happened, in one line. verdict: failed, rejected, underpowered, refused or asked."""

    text: str
    verdict: str
    run: str
    flow: str
    model: str = ""


def address() -> str | None:
    """Where alerts go; None where nobody set it up."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    from prefect.blocks.system import Secret

    try:
        return str(Secret.load(BLOCK).get())
    except ValueError:  # there is no such block
        return None


def tell(alert: Alert) -> str | None:
    """Send it, if anybody said where to; returns what went wrong in one line, or None. Nothing is raised for it."""
    try:
        url = address()
    except Exception as error:  # noqa: BLE001  a server that does not answer, a block of another type
        return f"no alert was sent: the block {BLOCK} cannot be read: {type(error).__name__}"
    return send(alert, url) if url else None


def send(alert: Alert, url: str) -> str | None:
    """Post it; returns what went wrong in one line, without the address, or None. Nothing is raised for it."""
    import httpx
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS), wait=wait_exponential(multiplier=0.5, max=5), reraise=True,
        retry=retry_if_exception_type(httpx.TransportError),
    )  # fmt: skip
    try:
        answer = retrying(httpx.post, url, json=asdict(alert), timeout=SECONDS)
    except Exception as error:  # noqa: BLE001  an address can be wrong in many ways, and none of them ends a retraining
        return f"the alert could not be sent to {_host(url)}: {type(error).__name__}"
    return None if answer.is_success else f"the alert was refused by {_host(url)}: HTTP {answer.status_code}"


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or "the address"


def run_page(flow_run_id: str) -> str:
    """The page of a flow run, as a browser reaches it."""
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

    pages = PREFECT_UI_URL.value() or (PREFECT_API_URL.value() or "").removesuffix("/").removesuffix("/api")
    return f"{pages}/runs/flow-run/{flow_run_id}" if pages else flow_run_id
