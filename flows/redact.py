"""Keep secrets out of what is stored: values of secret environment variables, and logins in addresses."""

import os
import re

# Names of variables whose values nobody may read later; a value shorter than this would hide ordinary words.
SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH_STRING|APIKEY|(^|_)(KEY|TOKEN|PASS)$", re.IGNORECASE)
SHORTEST_SECRET = 6
LOGIN = re.compile(r"(?P<scheme>[a-zA-Z][\w+.\-]*://)[^/\s@]+@")


def redact(text: str) -> str:
    """`text` with every secret of the environment replaced by its variable's name, and without logins in addresses."""
    secrets = {value: name for name, value in os.environ.items() if SECRET_NAME.search(name)}
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"[{secrets[value]}]")
    return without_login(text)


def without_login(text: str) -> str:
    """`text` with "user:password@" taken out of its addresses."""
    return LOGIN.sub(lambda match: match["scheme"], text)
