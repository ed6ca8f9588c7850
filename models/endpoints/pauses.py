"""How long a server asks us to wait: in headers, in the body, or in its words."""

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from models.endpoints.error_body import objects_in

_EPOCH, _EPOCH_MILLISECONDS = 1e9, 1e12  # larger numbers are points in time
_RESET = re.compile(r"(?:[a-z]+-)?rate-?limit-(?:([a-z-]+)-)?reset(?:-([a-z-]+))?")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli[a-z]+|s|sec[a-z]*|m|min[a-z]*|h|hours?|d|days?)(?![a-z])")
_DURATION = re.compile(rf"(?:{_PART.pattern}\s*)+")
_IN_WORDS = re.compile(rf"(?:try again|retry)\s+(?:in|after)\s+({_DURATION.pattern})")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def pause_of(headers: Mapping[str, str], document: Any = None, now: float | None = None) -> float:
    """Seconds that the server asks us to wait; 0 if it does not.

    headers: with lower-case names. Retry-After (RFC 9110, 10.2.3) comes first, then google.rpc.RetryInfo, then the time
    at which a limit starts anew, then words like "try again in 1.2s".
    """
    now = time.time() if now is None else now
    objects = list(objects_in(document))
    within = [one["headers"] for one in objects if isinstance(one.get("headers"), Mapping)]  # as routers hand them on
    every = [headers, *({str(key).lower(): value for key, value in one.items()} for one in within)]
    pauses = [
        *(_retry_after(one, now) for one in every),
        *(_seconds(one.get("retryDelay"), now) for one in objects),
        *(_until_reset(one, now) for one in every),
        *(_in_words(one.get("message")) for one in objects),
    ]
    return next((seconds for seconds in pauses if seconds), 0.0)


def _retry_after(headers: Mapping[str, Any], now: float) -> float:
    """A number or a date; some servers say milliseconds."""
    if "retry-after-ms" in headers:
        return _seconds(f"{headers['retry-after-ms']}ms", now)
    return _seconds(headers.get("retry-after"), now)


def _until_reset(headers: Mapping[str, Any], now: float) -> float:
    """Of the limits that are used up, or of which nothing else is known, the one that starts anew last."""
    resets = {
        match[1] or match[2] or "": _seconds(value, now)
        for name, value in headers.items() if (match := _RESET.fullmatch(name))
    }  # fmt: skip
    used_up = [seconds for kind, seconds in resets.items() if _remaining(headers, kind) < 1]
    return max(used_up) if used_up else min(resets.values(), default=0.0)


def _remaining(headers: Mapping[str, Any], kind: str) -> float:
    """How much a limit still allows; 0 where nobody says."""
    named = [value for name, value in headers.items() if "limit" in name and "remaining" in name and kind in name]
    return next((number for value in named if (number := _number(str(value))) is not None), 0.0)


def _seconds(value: Any, now: float) -> float:
    """A duration or a point in time, as seconds from `now`: "12", "1m30s", "2025-01-31T12:00:00Z", an HTTP date, or
    seconds or milliseconds since 1970. 0 for what is none of these."""
    text = str(value).strip()
    number = _number(text)
    if number is not None:
        seconds = number / 1000 - now if number > _EPOCH_MILLISECONDS else number - now if number > _EPOCH else number
    else:
        seconds = _duration(text) if _DURATION.fullmatch(text) else _date(text) - now
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,300}(?:\.\d*)?", text) else None


def _duration(text: str) -> float:
    def unit(name: str) -> float:
        return 1e-3 if name == "ms" or name.startswith("milli") else _SECONDS[name[0]]

    return sum(float(number) * unit(name) for number, name in _PART.findall(text))


def _date(text: str) -> float:
    """Seconds since 1970; minus infinity for what is no date."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text).timestamp()
        except (ValueError, OverflowError, TypeError):
            continue
    return -math.inf


def _in_words(message: Any) -> float:
    match = _IN_WORDS.search(message.lower()) if isinstance(message, str) else None
    return _duration(match[1]) if match else 0.0
