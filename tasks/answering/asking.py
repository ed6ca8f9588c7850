"""How endpoints are asked, as params say it."""

from collections.abc import Mapping
from typing import Any

from models.endpoints.retries import AskingSettings


def asking_settings(asking: Mapping[str, Any] | None) -> AskingSettings:
    """asking: the keys of section compare.asking; None for their defaults."""
    if asking is None:
        return AskingSettings()
    return AskingSettings(**{name.removesuffix("_seconds"): value for name, value in asking.items()})
