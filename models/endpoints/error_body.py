"""What a server says about a request that failed, in the many shapes in which servers say it.

OpenAI's {"error": {"message", "param", "code"}}, {"error": text}, FastAPI's {"detail": text or list}, {"message"},
{"errors": [...]}, Google's [{"error": ...}] with details, problem+json (RFC 9457), JSON within a string, plain text,
HTML. So nothing here knows a provider: words are sought where words stand, in any nesting.
"""

import html
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_WORDS = ("message", "msg", "detail", "errors", "error_description", "reason", "raw")  # keys that hold them
_CODES = ("code", "type", "status", "error_type", "reason", "finish_reason")
_FIELDS = ("param", "parameter")
_SHOWN = 300  # characters
_LISTED = 3  # errors of a list
_DEEPEST = 8  # of nested objects; a body comes from outside
_NO_TEXT = re.compile(r"(?is)<(script|style|head)\b.*?</\1>|<!--.*?-->|<[^>]*>")
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>")
_STATUS_OF = {  # words that stand where others have a number
    "rate_limit_exceeded": 429, "rate_limit_error": 429, "rate_limited": 429, "resource_exhausted": 429,
    "too_many_requests": 429, "overloaded_error": 529, "overloaded": 529, "server_error": 500,
    "internal_server_error": 500, "api_error": 500, "internal": 500, "bad_gateway": 502, "unavailable": 503,
    "service_unavailable": 503, "timeout": 504, "deadline_exceeded": 504, "invalid_request_error": 400,
    "authentication_error": 401, "invalid_api_key": 401, "insufficient_quota": 402, "billing_error": 402,
    "permission_error": 403, "content_filter": 400, "content_policy_violation": 400,
}  # fmt: skip


@dataclass(frozen=True)
class ErrorBody:
    """`words`: the server's own, in one line, cut; `codes`: lower-case words that name the error; `status`: an HTTP
    status that the body states; `field`: of the request, which the body names."""

    words: str
    codes: frozenset[str] = frozenset()
    status: int | None = None
    field: str | None = None


def read_error(document: Any, sent: Collection[str] = ()) -> ErrorBody:
    """document: a body's JSON, or its text; sent: the fields of the request."""
    objects = list(objects_in(document))
    named = [value for one in objects for key in _CODES if (value := one.get(key)) is not None]
    codes = frozenset(value.lower() for value in named if isinstance(value, str))
    words = " ".join((_words(document) or _dumped(document)).split())[:_SHOWN]
    return ErrorBody(words, codes, _status(named, codes), _field(objects, words, sent))


def objects_in(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """All objects in a document, those in lists and in strings that hold JSON as well, the outer ones first."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from objects_in(part, depth + 1)


def json_of(text: str) -> Any:
    """The JSON value that a text is, whatever it was called; else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _parsed(text: str) -> Any:
    return json_of(text) if text.lstrip()[:1] in ("{", "[") else None


def _status(named: list[Any], codes: frozenset[str]) -> int | None:
    statuses = [int(one) for one in named if str(one).isdigit() and len(str(one)) == 3]
    statuses += [_STATUS_OF[code] for code in sorted(codes) if code in _STATUS_OF]
    return next((number for number in statuses if 400 <= number < 600), None)


def _field(objects: list[Mapping[str, Any]], words: str, sent: Collection[str]) -> str | None:
    """As the body states it, else the first of the `sent` fields that its words name."""
    stated = [one[key] for one in objects for key in _FIELDS if isinstance(one.get(key), str)]
    places = [one["loc"] for one in objects if isinstance(one.get("loc"), list) and one["loc"]]
    stated += [part for place in places for part in place if isinstance(part, str)]
    for name in stated:
        if (first := name.split(".")[0]) in sent:
            return first
    matches = [(match.start(), name) for name in sent if (match := re.search(rf"\b{re.escape(name)}\b", words))]
    return min(matches)[1] if matches else None


def _words(value: Any, depth: int = 0) -> str:
    """The words for people in a body; "" where it has none."""
    if depth > _DEEPEST:
        return ""
    if isinstance(value, str):
        inner = _parsed(value)
        return (_words(inner, depth + 1) if inner is not None else "") or _plain(value)
    if isinstance(value, list):
        return "; ".join(words for part in value[:_LISTED] if (words := _words(part, depth + 1)))
    return _of_object(value, depth) if isinstance(value, Mapping) else ""


def _of_object(value: Mapping[str, Any], depth: int) -> str:
    error = value.get("error")
    parts = [error if isinstance(error, (Mapping, list)) else None, *(value.get(key) for key in _WORDS), error]
    words = next((words for part in parts if (words := _words(part, depth + 1))), "")
    title, place, within = value.get("title"), value.get("loc"), value.get("metadata")
    if isinstance(title, str):
        words = f"{title}: {words}" if words else title
    if isinstance(place, list) and words:
        words = f"{'.'.join(map(str, place))}: {words}"
    if isinstance(within, Mapping) and (raw := _words(within.get("raw"), depth + 1)):  # what a router's provider said
        words = f"{words}: {raw}" if words else raw
    return words


def _plain(text: str) -> str:
    if not re.match(r"(?is)\s*(<!doctype|<html|<head|<body|<\?xml)", text):
        return text
    title, body = _TITLE.search(text), html.unescape(_NO_TEXT.sub(" ", text))
    return f"{html.unescape(title[1])}: {body}" if title else body


def _dumped(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)
