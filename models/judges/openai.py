"""A judge behind any endpoint that speaks OpenAI's chat completions: hosted models, vLLM, Ollama, `transformers serve`.

The address and the key stand in environment variables that the settings name; neither determines a verdict. Answers
are forced into a JSON schema, at temperature 0 unless params say otherwise. A server that refuses the schema is asked
for any JSON object, and one that refuses that too for plain text; what comes back is then read as well as it can be.
"""

import json
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from aiohttp import ClientError
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    DefaultAioHttpClient,
    NotFoundError,
    PermissionDeniedError,
    UnprocessableEntityError,
)

from models.judges.base import Answer, Question, Verdict, checked_weights
from models.judges.remote import JudgeError, Passing, Reply, Unusable
from models.judges.replies import READER, MalformedReply, is_unfinished, read_ratings, read_verdict
from models.judges.template_fields import check_template
from models.judges.templates import TEMPLATE, Template, answer_schema, messages, strip_role_tokens
from models.judges.unreadable import refusal_of, why_unreadable
from models.judges.usage import Usage, read_usage

FORMATS = ("json_schema", "json_object", "text")
PAYMENT_REQUIRED = 402  # of prepaid accounts that are empty
_BUSY_STATUS = (408, 409, 425, 429)  # all from 500 pass as well, but may be one question's fault
_WAYS_OUT = {  # where a server refuses a field of our request
    "max_tokens": "set the judge's token_limit to max_completion_tokens",
    "max_completion_tokens": "set the judge's token_limit to max_tokens",
    "temperature": "set the judge's temperature to null, which leaves it to the server",
    "seed": "set the judge's seed to null",
}
_REFUSED_FOR_ITS_TEXT = ("context_length_exceeded", "content_filter", "content_policy_violation")
_MESSAGE_TOKENS = 16  # more than a chat template puts around one message
_MILLION = 1_000_000
_TOKENS_PER_CRITERION, _TOKENS_AROUND = 16, 64


@dataclass
class OpenAIJudge:
    """Asks for one verdict or rating per criterion in a single call; `weights`: criterion -> weight of its verdict.

    `revision` and `epoch` change nothing that is sent; they tell verdicts apart when the model behind a name changes.
    `temperature`: None sends none, for models that take no other than their own. `token_limit`: the request's field
    that takes `max_tokens`, which must leave room for what a model thinks before it answers.
    Prices are per million tokens; tokens from a cache cost `cached_price`, tokens of reasoning `reasoning_price`, None
    for what others cost. Raises ValueError for a template that lacks a field or criteria
    that it does not have, JudgeError without an address or a key in the environment.
    """

    name: str
    model: str
    weights: Mapping[str, float]
    revision: str = ""
    epoch: int = 0
    url_variable: str = "PLUMB_JUDGE_URL"
    key_variable: str | None = "PLUMB_JUDGE_KEY"
    max_tokens: int | None = None
    token_limit: str = "max_tokens"  # | max_completion_tokens
    temperature: float | None = 0.0
    seed: int | None = 0
    input_price: float = 0.0
    output_price: float = 0.0
    cached_price: float | None = None
    reasoning_price: float | None = None
    timeout_seconds: float = 60.0
    rates: bool = True
    template: Template = TEMPLATE
    format: str | None = field(default=None, init=False)  # the first of FORMATS that the server took
    longest_reply: int = field(default=0, init=False)  # tokens; some servers count reasoning beside max_tokens
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_template(self.template, "openai", f"judge {self.name!r}")
        checked_weights(self.weights, tuple(self.template.criteria), f"judge {self.name!r}")
        if self.max_tokens is None:
            self.max_tokens = _TOKENS_AROUND + _TOKENS_PER_CRITERION * len(self.weights)

    @property
    def description(self) -> dict[str, Any]:
        """Everything that determines an answer besides the question."""
        return {
            "kind": "openai",
            "name": self.name,
            "model": self.model,
            "revision": self.revision,
            "epoch": self.epoch,
            "weights": dict(self.weights),
            "template": self.template.sha256,
            "reader": READER,
            "sampling": {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed},
        }

    def worst_cost(self, question: Question) -> float:
        """No token is shorter than a byte, and no answer longer than `max_tokens` and what was longer so far."""
        sent = messages(question, list(self.weights), self.template)
        tokens = sum(len(message["content"].encode()) + _MESSAGE_TOKENS for message in sent)
        return self.cost(tokens, max(self.max_tokens, self.longest_reply))

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """At most, of one call, in the currency of its prices: whether tokens are cached or of reasoning is unknown."""
        read = max(self.input_price, self.cached_price or 0.0)
        written = max(self.output_price, self.reasoning_price or 0.0)
        return (input_tokens * read + output_tokens * written) / _MILLION

    def _price(self, usage: Usage) -> float:
        cached = self.input_price if self.cached_price is None else self.cached_price
        reasoning = self.output_price if self.reasoning_price is None else self.reasoning_price
        read = (usage.input - usage.cached) * self.input_price + usage.cached * cached
        written = (usage.output - usage.reasoning) * self.output_price + usage.reasoning * reasoning
        return (read + written) / _MILLION

    async def __aenter__(self) -> "OpenAIJudge":
        url = self._environment(self.url_variable, "its endpoint's address, for example http://localhost:8000/v1")
        if not re.match(r"https?://[^/\s]+", url):
            wrong = f"{self.url_variable}={url!r} is no address"
            raise JudgeError(f"judge {self.name!r}: {wrong}; it begins with http:// or https://")
        key = "none" if self.key_variable is None else self._environment(self.key_variable, "its API key")
        # httpx's own transport spends twice the processor time on a call: on one core it, not the judge, sets the pace.
        transport = DefaultAioHttpClient()
        self._client = AsyncOpenAI(
            base_url=url, api_key=key, max_retries=0, timeout=self.timeout_seconds, http_client=transport
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    def _environment(self, variable: str, what: str) -> str:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise JudgeError(f"judge {self.name!r} needs {what}; set the variable {variable}, which is empty")
        return value

    async def ask(self, question: Question) -> Reply:
        """One call; more only until the first answer, where the server refuses a format.

        Raises Passing, Unusable or JudgeError, as asking.py wants them.
        """
        for form in FORMATS if self.format is None else (self.format,):
            try:
                reply = await self._ask(question, form)
            except (BadRequestError, UnprocessableEntityError) as error:
                refusal = error
                continue
            except Unusable:
                self.format = form
                raise
            self.format = form
            return reply
        return self._refused(refusal, question)

    @property
    def formats_refused(self) -> int:
        """How many ways of forcing the answer's form the server refused, of the two that there are."""
        return FORMATS.index(self.format) if self.format else 0

    async def _ask(self, question: Question, form: str) -> Reply:
        criteria = list(self.weights)
        body = {
            "model": self.model,
            "messages": messages(question, criteria, self.template),
            self.token_limit: self.max_tokens,
            **({} if self.temperature is None else {"temperature": self.temperature}),
            **({} if self.seed is None else {"seed": self.seed}),
            **self._response_format(form, criteria, question.second is not None),
        }
        try:
            # chat.completions.create does the same, and spends 2 ms more of our time on the types of each request.
            completion = await self._client.post("/chat/completions", cast_to=object, body=body)
        except (BadRequestError, UnprocessableEntityError):
            raise
        except APIStatusError as error:
            raise self._status_failure(error) from None
        except APIConnectionError as error:
            # Whether the call was paid for, nobody knows.
            cause = error.__cause__ or error
            message = f"no connection to {self._client.base_url} ({self.url_variable}): {type(cause).__name__} {cause}"
            raise Passing(message, cost=self.worst_cost(question)) from None
        except (APIError, ClientError, ValueError) as error:  # what is no HTTP, or a body that is cut off
            said = f"{type(error).__name__} {' '.join(str(error).split())[:300]}"
            message = f"judge {self.name!r}: {self._client.base_url} answers with {said}"
            raise Passing(message, cost=self.worst_cost(question)) from None
        return self._read(question, completion)

    def _response_format(self, form: str, criteria: list[str], paired: bool) -> dict[str, Any]:
        if form == "text":
            return {}
        if form == "json_object":
            return {"response_format": {"type": "json_object"}}
        schema = {"name": "judgement", "strict": True, "schema": answer_schema(criteria, paired)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _read(self, question: Question, completion: Any) -> Reply:
        text = content_of(completion)
        if text is None:
            raise self._no_completion(question, completion)
        usage = read_usage(completion.get("usage"))
        # Where nothing is said, charge the most that it can have been.
        cost = self._price(usage) if usage else self.worst_cost(question)
        tokens = (usage.input, usage.output) if usage else (0, 0)
        self.longest_reply = max(self.longest_reply, tokens[1])
        cut_off = completion["choices"][0].get("finish_reason") == "length"
        try:
            answer = self._answer(question, text, cut_off)
        except MalformedReply:
            if self.format is None and cut_off and is_unfinished(text):
                raise JudgeError(f"judge {self.name!r} thought until max_tokens={self.max_tokens} and gave no answer "
                                 "to its first question; raise its max_tokens in params.yaml") from None
            choice, said = completion["choices"][0], text or refusal_of(completion["choices"][0]["message"])
            why = why_unreadable(choice, text, self.max_tokens, list(self.weights), question.second is not None)
            reply = Reply(_invalid(question, said), said, *tokens, cost)
            raise Unusable(self._without_key(why), reply, final=self.temperature == 0) from None
        return Reply(answer, text, *tokens, cost)

    def _without_key(self, text: str) -> str:
        key = os.environ.get(self.key_variable or "", "").strip()
        return text.replace(key, f"[{self.key_variable}]") if key else text

    def _answer(self, question: Question, text: str, cut: bool) -> Answer:
        texts = [strip_role_tokens(one) for one in (question.first, question.second) if one is not None]
        if question.second is None:
            return read_ratings(text, list(self.weights), texts, cut)
        return read_verdict(text, self.weights, texts, cut)

    def _no_completion(self, question: Question, body: Any) -> Exception:
        """Something else than a model answered: a login page, a proxy. Says nothing about the question."""
        shown = " ".join((body if isinstance(body, str) else json.dumps(body)).split())[:100]
        where = f"judge {self.name!r}: {self._client.base_url} answers with no completion, but with {shown!r}"
        if self.format is None:
            return JudgeError(f"{where}; correct the address in {self.url_variable}, which mostly ends in /v1")
        return Passing(where, cost=self.worst_cost(question))

    def _refused(self, refusal: APIStatusError, question: Question) -> Reply:
        """An invalid answer to a question that the server will not take (too long, filtered).

        Raises JudgeError where no question was ever taken: then it is the settings that are wrong.
        """
        said = _said(refusal)
        if self.format is None and refusal.code not in _REFUSED_FOR_ITS_TEXT:
            where = f"judge {self.name!r}: {self._client.base_url} refuses its first question in every form"
            raise JudgeError(f"{where} ({said}); {_way_out(refusal)} in params.yaml")
        return Reply(_invalid(question, said), said)

    def _status_failure(self, error: APIStatusError) -> Exception:
        """What a status says about whether to try again."""
        where = f"judge {self.name!r}: {self._client.base_url} answers {error.status_code} ({_said(error)})"
        if isinstance(error, (AuthenticationError, PermissionDeniedError)):
            named = "" if self.key_variable else ", and name that variable as the judge's key_variable, which is null"
            return JudgeError(f"{where}; put a key that it accepts into {self.key_variable or 'a variable'}{named}")
        if isinstance(error, NotFoundError):
            return JudgeError(f"{where}; it lacks the model {self.model!r} (set it in params.yaml) or the address in "
                              f"{self.url_variable} is not that of its API, which mostly ends in /v1")
        if error.code == "insufficient_quota" or error.status_code == PAYMENT_REQUIRED:
            account = self.key_variable or self.url_variable
            return JudgeError(f"{where}; fill the account behind {account}, it is used up")
        busy = error.status_code in _BUSY_STATUS
        if busy or error.status_code >= 500:
            return Passing(where, retry_after=retry_after(error.response.headers), busy=busy)
        return JudgeError(f"{where}; correct the judge in params.yaml, or the address in {self.url_variable}")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float:
    """Seconds that the server asks us to wait; 0 if it does not (RFC 9110, 10.2.3: a number or a date; some servers say
    milliseconds)."""
    try:
        if "retry-after-ms" in headers:
            asked = float(headers["retry-after-ms"]) / 1000
        elif re.fullmatch(r"[\d.]+", value := headers.get("retry-after", "0").strip()):
            asked = float(value)
        else:
            asked = parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, asked) if math.isfinite(asked) else 0.0


def content_of(completion: Any) -> str | None:
    """The text of a chat completion, which may come in parts; "" for a message without text, None for what is no chat
    completion at all."""
    try:
        message = completion["choices"][0]["message"]
        content = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return "" if content is None else content if isinstance(content, str) else None


def _way_out(refusal: APIStatusError) -> str:
    """What to set where a server says which field of the request it will not take."""
    named = [name for name in _WAYS_OUT if name == refusal.param or f"'{name}'" in str(refusal.message)]
    return _WAYS_OUT[named[0]] if named else "correct the judge's model, max_tokens, token_limit, temperature or seed"


def _said(error: APIStatusError) -> str:
    return " ".join(str(error.message).split())[:300]


def _invalid(question: Question, text: str) -> Answer:
    return {} if question.second is None else Verdict(0.5, valid=False, raw=text)
