"""What a status and the body beside it say: may it pass, is it one request's fault, or must something change?"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.endpoints.error_body import ErrorBody, objects_in, read_error
from models.endpoints.failures import EndpointError, Passing, Refused
from models.endpoints.pauses import pause_of

if TYPE_CHECKING:
    from models.endpoints.endpoint import Endpoint

_UNAUTHORIZED, _PAYMENT_REQUIRED, _FORBIDDEN, _NOT_FOUND, _TOO_LARGE, _TOO_MANY = 401, 402, 403, 404, 413, 429
_BUSY = (408, 409, 425, _TOO_MANY, 503, 529)
_GAVE_UP_WAITING = (504, 524)  # proxies, whose server may have gone on
_WHATEVER_IS_ASKED = (_NOT_FOUND, 405)  # the model or the address is wrong
_NO_CREDIT = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "insufficient_balance"}
_USED_UP = re.compile(
    r"credit balance is too low|insufficient (?:balance|credits?|funds)|out of credits|used all available credits|"
    r"doesn't have any credits|monthly spending limit|budget has been exceeded", re.IGNORECASE,
)  # Anthropic, xAI, LiteLLM: with status 400, 403 or 429
_LARGE = re.compile(r"request (?:is )?too large|must be reduced|reduce your message size", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit:? (\d+)\b.{0,40}?\brequested:? (\d+)", re.IGNORECASE)  # of tokens
_FOR_ITS_TEXT = re.compile(
    r"context.(?:length|window|size)|maximum (?:context|model) length|too (?:long|large)|reduce the length|"
    r"must be reduced|content.(?:policy|management|filter)|moderation|flagged|data_inspection|safety",
    re.IGNORECASE,
)


def is_error(document: Any) -> bool:
    """Whether a body with status 200 says that it is an error, as that of a router does whose provider failed."""
    if isinstance(document, Mapping) and document.get("choices"):
        first = document["choices"][0] if isinstance(document["choices"], list) else None
        return bool(document.get("error") or (isinstance(first, Mapping) and first.get("error")))
    if not isinstance(document, (Mapping, list)):
        return False
    return any(one.get("error") for one in objects_in(document)) or read_error(document).status is not None


def failure_of(
    endpoint: "Endpoint", status: int, headers: Mapping[str, str], document: Any, error: ErrorBody
) -> Passing | Refused | EndpointError:
    """headers: with lower-case names. Where an answer with status 200 holds an error, its own status counts."""
    words, stated = endpoint.shown(error.words), status if status >= 400 else error.status
    within = "" if stated == status else f", but {stated or 'an error'} in its body"
    text = f"{endpoint.owner}: {endpoint.address} answers {status}{within} ({words})"
    if stated == _UNAUTHORIZED:
        return EndpointError(f"{text}; {_key(endpoint)}")
    if stated == _PAYMENT_REQUIRED or error.codes & _NO_CREDIT or _USED_UP.search(words):
        account = endpoint.key_variable or endpoint.url_variable
        return EndpointError(f"{text}; fill the account behind {account}, it is used up")
    if not endpoint.answered and (stated is None or stated in _WHATEVER_IS_ASKED):
        return EndpointError(f"{text}; {_way_out(endpoint, stated)}")
    large = stated == _TOO_LARGE or bool(_LARGE.search(words)) or _over_limit(words)
    if stated is None or (not large and (stated in _BUSY or stated >= 500)):
        return Passing(text, pause_of(headers, document), busy=stated in _BUSY, may_be_paid=stated in _GAVE_UP_WAITING)
    for_its_text = large or bool(_FOR_ITS_TEXT.search(" ".join((words, *error.codes))))
    return Refused(text, _way_out(endpoint, stated), stated, error.field, for_its_text)


def _over_limit(words: str) -> bool:
    """Whether one request asks for more than a limit allows in a minute: no wait makes room for it."""
    match = _LIMIT.search(words)
    return bool(match) and int(match[2]) > int(match[1])


def _way_out(endpoint: "Endpoint", status: int | None) -> str:
    if status == _FORBIDDEN:
        return _key(endpoint)
    if status in (None, *_WHATEVER_IS_ASKED):
        return (f"it lacks the model {endpoint.model!r} (set it in params.yaml) or the address in "
                f"{endpoint.url_variable} is not that of its API, which mostly ends in /v1")
    return f"correct the settings of {endpoint.owner} in params.yaml, or the address in {endpoint.url_variable}"


def _key(endpoint: "Endpoint") -> str:
    if endpoint.key_variable:
        return f"put a key that it accepts into {endpoint.key_variable}"
    return ("put a key that it accepts into a variable, and name that variable as the judge's key_variable, which is "
            "null")
