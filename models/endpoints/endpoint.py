"""One endpoint that speaks OpenAI's chat completions: one request, and what became of it.

Spoken with aiohttp itself: clients of that API read an answer by its content type and an error by its status, and
servers state either of them wrongly.
"""

import asyncio
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi

from models.endpoints.error_body import json_of, read_error
from models.endpoints.failures import EndpointError, Passing, Refused
from models.endpoints.pace import Pace
from models.endpoints.statuses import failure_of, is_error

PATH = "/chat/completions"
_FILTERED = "content_filter"  # begins a finish_reason: the server took the answer away
_INTERRUPTED = ("insufficient_system_resource", "error", "abort", "aborted")
_TRUSTED = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # read by OpenSSL
_WRONG_HOST, _EXPIRED = (62, 64), 10  # of OpenSSL's X509_V_ERR
_SHOWN = 300  # characters


@dataclass
class Endpoint:
    """`owner`: who asks, as messages name it. `url_variable`, `key_variable`: of the environment; the key's may be
    empty only where `key_optional` says so. `optional`: fields of a request that can be left out where the server
    refuses them, each with the name that takes its place, None for none. `dropped`: those that it refused so far.

    `async with` opens and closes its connections; it raises EndpointError without an address or a key.
    """

    owner: str
    model: str
    url_variable: str
    key_variable: str | None
    timeout_seconds: float
    optional: Mapping[str, str | None] = field(default_factory=dict)
    key_optional: bool = False
    dropped: dict[str, str | None] = field(default_factory=dict, init=False)
    pace: Pace = field(default_factory=Pace, init=False)
    answered: bool = field(default=False, init=False)  # whether it ever took a request

    def url(self) -> str:
        """As the environment has it. Raises EndpointError for what is no address."""
        url = self._environment(self.url_variable, "its endpoint's address, for example http://localhost:8000/v1")
        if not re.match(r"https?://[^/\s]+", url):
            wrong = f"{self.url_variable}={url!r} is no address"
            raise EndpointError(f"{self.owner}: {wrong}; it begins with http:// or https://")
        return url

    async def __aenter__(self) -> "Endpoint":
        url = self.url()
        self._key = self._environment(self.key_variable, "its API key") if self.key_variable else ""
        host = urlsplit(url)
        base = host.path.rstrip("/").removesuffix(PATH)
        self._url = host._replace(path=base + PATH).geturl()  # the query stays, such as Azure's api-version
        netloc = host.netloc.rpartition("@")[2]
        self.address = f"{host.scheme}://{netloc}{base}"  # without a login, and without a key behind a "?"
        sent = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "plumbline"}
        if self._key and "@" not in host.netloc:
            sent["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_trusting() if host.scheme == "https" else True),
            cookie_jar=aiohttp.DummyCookieJar(), headers=sent, timeout=aiohttp.ClientTimeout(self.timeout_seconds),
            proxy=None if proxy_bypass(host.hostname or "") else getproxies().get(host.scheme),
        )  # fmt: skip
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    def _environment(self, variable: str, what: str) -> str:
        value = os.environ.get(variable, "").strip()
        if not value and not (variable == self.key_variable and self.key_optional):
            raise EndpointError(f"{self.owner} needs {what}; set the variable {variable}, which is empty")
        return value

    async def post(self, body: Mapping[str, Any], before_another: Callable[[], None] = lambda: None) -> Any:
        """The reply's JSON, or its text where it is none; an optional field that the server refuses is left out.

        before_another: called before each request but the first. Raises Passing, Refused or EndpointError.
        """
        dropped = dict(self.dropped)
        while True:
            try:
                reply = await self._post(without(body, dropped))
            except Refused as refusal:
                named = refusal.field
                # Of two names for one thing either may be refused, but not both.
                if refusal.for_its_text or named not in self.optional or self.optional[named] in dropped:
                    raise
                before_another()
                dropped[named] = self.optional[named]
            else:
                self.dropped |= dropped
                return reply

    async def _post(self, body: Mapping[str, Any]) -> Any:
        content, started = json.dumps(body).encode(), time.monotonic()
        try:
            async with self._session.post(self._url, data=content) as response:
                status, headers, content = response.status, response.headers, await response.read()
                if response.method != "POST" and status >= 400:  # after a redirect that forgets what was sent
                    raise self._moved(str(response.url.with_query(None).with_user(None)))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise self._no_answer(error) from None
        document = json_of(content.decode("utf-8-sig", "replace"))
        if status >= 400 or is_error(document):
            raise self._failure(status, headers, document, body, started)
        if isinstance(document, str) and document.lstrip()[:1] in ("", "{", "["):
            message = f"{self.owner}: {self.address} answers with a body that is cut off: {self.shown(document)!r}"
            raise Passing(message, may_be_paid=True)
        self.pace.answered()
        self.answered |= isinstance(document, Mapping)
        return document

    def _failure(
        self, status: int, headers: Mapping[str, str], document: Any, body: Mapping[str, Any], started: float
    ) -> Exception:
        error = read_error(document, body)
        failure = failure_of(self, status, {name.lower(): value for name, value in headers.items()}, document, error)
        if isinstance(failure, Passing) and failure.busy:
            self.pace.refused(failure.retry_after, started)
        if isinstance(failure, (Passing, Refused)) and isinstance(document, Mapping):
            failure.usage = document.get("usage")
            failure.may_be_paid |= bool(document.get("choices"))
        return failure

    def shown(self, text: str) -> str:
        """A server's own words in one line, cut, and without the key."""
        return self.without_key(" ".join(text.split()))[:_SHOWN]

    def without_key(self, text: str) -> str:
        return text.replace(self._key, f"[{self.key_variable}]") if self._key else text

    def _no_answer(self, error: Exception) -> Exception:
        certificate = getattr(error, "certificate_error", error)
        if isinstance(certificate, ssl.SSLCertVerificationError):
            return EndpointError(self._distrust(certificate))
        cause = getattr(error, "os_error", error)
        words = self.shown(f"{type(cause).__name__} {cause}")
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return EndpointError(f"{self.owner}: {self.address} does not speak TLS ({words}); correct the address in "
                                 f"{self.url_variable}, to http:// if that is what it speaks")
        if isinstance(error, aiohttp.InvalidURL):
            return EndpointError(f"{self.owner}: {self.address} is no address; correct {self.url_variable}")
        if isinstance(error, TimeoutError):
            return Passing(f"{self.owner}: {self.address} gave no answer in {self.timeout_seconds:g} s",
                           may_be_paid=True)
        if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
            return Passing(f"{self.owner}: {self.address} answers with {words}", may_be_paid=True)
        # A connection that broke may have carried the request.
        sent = not isinstance(error, aiohttp.ClientConnectorError)
        return Passing(f"no connection to {self.address} ({self.url_variable}): {words}", may_be_paid=sent)

    def _moved(self, target: str) -> Exception:
        where = f"{self.owner}: {self.address} sends requests on to {target}"
        if self.answered:
            return Passing(where)
        return EndpointError(f"{where}, where they are no questions any more; put the address that it means into "
                             f"{self.url_variable}, mostly with https:// in the place of http://")

    def _distrust(self, error: ssl.SSLCertVerificationError) -> str:
        untrusted = f"{self.owner}: the certificate of {self.address} is not trusted ({error.verify_message})"
        if error.verify_code in _WRONG_HOST:
            return f"{untrusted}; put the name that it was made for into {self.url_variable}"
        if error.verify_code == _EXPIRED:
            return f"{untrusted}; its server needs a new one"
        return (f"{untrusted}; put the certificate of the authority that signed it into a file, and name the file in "
                "SSL_CERT_FILE")


def content_of(completion: Any) -> str | None:
    """The text of a chat completion, which may come in parts; "" for a message without text, and where a choice that
    ended has none (Gemini, whose thoughts were all); None for what is no chat completion at all."""
    try:
        choice = completion["choices"][0]
        message = choice.get("message") or ({} if choice["finish_reason"] else None)
        content = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return "" if content is None else content if isinstance(content, str) else None


def is_filtered(choice: Mapping[str, Any]) -> bool:
    """Whether the server took a choice's text away."""
    return str(choice.get("finish_reason")).lower().startswith(_FILTERED)


def is_interrupted(choice: Mapping[str, Any]) -> bool:
    """Whether the server broke a choice off, and may finish it another time."""
    return str(choice.get("finish_reason")).lower() in _INTERRUPTED


def without(body: Mapping[str, Any], dropped: Mapping[str, str | None]) -> dict[str, Any]:
    """`body` without the fields in `dropped`, or with the names that take their places."""
    return {dropped.get(name, name): value for name, value in body.items() if dropped.get(name, name) is not None}


def _trusting() -> ssl.SSLContext:
    """As OpenSSL is told by the environment; where it is told nothing, certifi's authorities beside the system's."""
    context = ssl.create_default_context()
    if not any(os.environ.get(name) for name in _TRUSTED):
        context.load_verify_locations(certifi.where())
    return context


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, also where a notebook's loop is already running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
