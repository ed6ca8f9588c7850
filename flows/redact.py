"""Keep secrets out of what is stored: values of secret environment variables, and logins in addresses."""

import contextlib
import os
import re
import traceback
from collections.abc import Iterator

from flows.failure import Failure

# Names of variables whose values nobody may read later; a value shorter than this would hide ordinary words.
SECRET_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH_STRING|APIKEY|ACCESS_KEY|ALERT_URL|(^|_)(KEY|TOKEN|PASS)$", re.IGNORECASE
)
SHORTEST_SECRET = 6
SURELY_SECRET = 8  # characters from which on a value is no ordinary word of a params file either
# Up to the last @: a password may hold one, which every client takes for a part of it.
LOGIN = re.compile(r"(?P<scheme>[a-zA-Z][\w+.\-]*://)[^/\s\"'<>]+@")


def redact(text: str) -> str:
    """`text` with every secret of the environment replaced by its variable's name, and without logins in addresses."""
    secrets = _secrets()
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, f"[{secrets[value]}]")
    return without_login(text)


def secrets_in(content: bytes) -> list[str]:
    """The names of the secret variables whose values stand in it. Short values are not sought: they may be words."""
    secrets = {name: value.encode() for value, name in _secrets().items() if len(value) >= SURELY_SECRET}
    return sorted(name for name, value in secrets.items() if value in content)


@contextlib.contextmanager
def redacted_errors() -> Iterator[None]:
    """While inside, an error that tells a secret is raised as a Failure that does not.

    For code under Prefect, which stores what an error says and, in its log, what that came from.
    """
    try:
        yield
    except Exception as error:
        whole, message = "".join(traceback.format_exception(error)), " ".join(str(error).split())
        if redact(whole) == whole:
            raise
        if redact(message) == message:
            raise error from None
        raise Failure(redact(message), getattr(error, "may_pass", False)) from None


def _secrets() -> dict[str, str]:
    """Value to name."""
    secrets = {value: name for name, value in os.environ.items() if SECRET_NAME.search(name)}
    return {value: name for value, name in secrets.items() if len(value) >= SHORTEST_SECRET}


def without_login(text: str) -> str:
    """`text` with "user:password@" taken out of its addresses."""
    return LOGIN.sub(lambda match: match["scheme"], text)
