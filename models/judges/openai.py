"""A judge behind any endpoint that speaks OpenAI's chat completions: hosted models, vLLM, Ollama, `transformers serve`.

The address and the key stand in environment variables that the settings name; neither determines a verdict. Answers
are forced into a JSON schema, at temperature 0 unless params say otherwise. A server that refuses the schema is asked
for any JSON object, and one that refuses that too for plain text; what comes back is then read as well as it can be.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.endpoints.endpoint import Endpoint, content_of, is_filtered, is_interrupted
from models.endpoints.failures import Passing, Refused
from models.judges.base import Answer, Question, Verdict, checked_weights
from models.judges.remote import JudgeError, Reply, Unusable
from models.judges.replies import READER, MalformedReply, is_unfinished, read_ratings, read_verdict
from models.judges.template_fields import check_template
from models.judges.templates import TEMPLATE, Template, answer_schema, messages, strip_role_tokens
from models.judges.unreadable import is_cut, refusal_of, why_unreadable
from models.judges.usage import Usage, read_usage

FORMATS = ("json_schema", "json_object", "text")
_OPTIONAL = {"temperature": None, "seed": None, "max_tokens": "max_completion_tokens",
             "max_completion_tokens": "max_tokens"}  # fields that a server may refuse, and what takes their places
_UNPROCESSABLE = (400, 422)  # of requests that a server cannot read
_MESSAGE_TOKENS = 16  # more than a chat template puts around one message
_MILLION = 1_000_000
_TOKENS_PER_CRITERION, _TOKENS_AROUND = 16, 64


@dataclass
class OpenAIJudge:
    """Asks for one verdict or rating per criterion in a single call; `weights`: criterion -> weight of its verdict.

    `revision` and `epoch` change nothing that is sent; they tell verdicts apart when the model behind a name changes.
    `temperature`: None sends none, for models that take no other than their own. `token_limit`: the request's field
    that takes `max_tokens`, which must leave room for what a model thinks before it answers.
    Prices are per million tokens; tokens from a cache cost `cached_price`, tokens written to one `cache_write_price`,
    tokens of reasoning `reasoning_price`, None for what others cost. What a router says it charged counts where it is
    more. Raises ValueError for a template that lacks a field or criteria that it does not have, JudgeError without an
    address or a key in the environment.
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
    cache_write_price: float | None = None
    reasoning_price: float | None = None
    timeout_seconds: float = 60.0
    rates: bool = True
    template: Template = TEMPLATE
    format: str | None = field(default=None, init=False)  # the first of FORMATS that the server took
    longest_reply: int = field(default=0, init=False)  # tokens; some servers count reasoning beside max_tokens
    dearest: float = field(default=1.0, init=False)  # times its price that a call was charged at most
    costliest: float = field(default=0.0, init=False)  # charge for one call: all that is known without prices
    endpoint: Endpoint = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_template(self.template, "openai", f"judge {self.name!r}")
        checked_weights(self.weights, tuple(self.template.criteria), f"judge {self.name!r}")
        if self.max_tokens is None:
            self.max_tokens = _TOKENS_AROUND + _TOKENS_PER_CRITERION * len(self.weights)
        self.endpoint = Endpoint(f"judge {self.name!r}", self.model, self.url_variable, self.key_variable,
                                 self.timeout_seconds, _OPTIONAL)

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
        """No token is shorter than a byte, no answer longer than `max_tokens`, and no call dearer by more than one was
        so far. Where a server wrote more all the same, the next may be twice as long as the longest."""
        sent = messages(question, list(self.weights), self.template)
        tokens = sum(len(message["content"].encode()) + _MESSAGE_TOKENS for message in sent)
        longest = self.longest_reply if self.longest_reply <= self.max_tokens else 2 * self.longest_reply
        return self.dearest * self.cost(tokens, max(self.max_tokens, longest)) or self.costliest

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """At most, of one call, in the currency of its prices: whether tokens are cached or of reasoning is unknown."""
        read = max(self.input_price, self.cached_price or 0.0, self.cache_write_price or 0.0)
        written = max(self.output_price, self.reasoning_price or 0.0)
        return (input_tokens * read + output_tokens * written) / _MILLION

    def _charge(self, usage: Usage) -> float:
        """Tokens times their prices, or what was billed where that is more."""
        cost = usage.input * self.input_price + usage.output * self.output_price
        for tokens, price, usual in (
            (usage.cached, self.cached_price, self.input_price),
            (usage.written_to_cache, self.cache_write_price, self.input_price),
            (usage.reasoning, self.reasoning_price, self.output_price),
        ):
            cost += 0.0 if price is None else tokens * (price - usual)
        cost /= _MILLION
        if cost > 0:
            self.dearest = max(self.dearest, usage.billed / cost)
        charge = max(cost, usage.billed)
        self.costliest = max(self.costliest, charge)
        return charge

    async def __aenter__(self) -> "OpenAIJudge":
        await self.endpoint.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.endpoint.__aexit__(*error)

    async def turn(self) -> None:
        await self.endpoint.pace.turn()

    async def ask(self, question: Question, before_another: Callable[[], None] = lambda: None) -> Reply:
        """One call; more only until the first answer, where the server refuses a format or a field.

        Raises Passing, Unusable, Refused or JudgeError, as asking.py wants them, and what `before_another` raises.
        """
        forms = list(FORMATS if self.format is None else FORMATS[FORMATS.index(self.format) :])
        while True:
            form = forms.pop(0)
            try:
                reply = await self._ask(question, form, before_another)
            except Refused as refusal:
                unknown = self.format is None and refusal.status in _UNPROCESSABLE and not refusal.for_its_text
                if not forms or not (unknown or refusal.field == "response_format"):
                    raise
                before_another()
            except Unusable:
                self.format = form
                raise
            else:
                self.format = form
                return reply

    @property
    def formats_refused(self) -> int:
        """How many ways of forcing the answer's form the server refused, of the two that there are."""
        return FORMATS.index(self.format) if self.format else 0

    @property
    def fields_refused(self) -> dict[str, str | None]:
        """Fields of a request that the server refused, and what was sent in their places."""
        return self.endpoint.dropped

    async def _ask(self, question: Question, form: str, before_another: Callable[[], None]) -> Reply:
        criteria = list(self.weights)
        body = {
            "model": self.model,
            "messages": messages(question, criteria, self.template),
            self.token_limit: self.max_tokens,
            **({} if self.temperature is None else {"temperature": self.temperature}),
            **({} if self.seed is None else {"seed": self.seed}),
            **_response_format(form, criteria, question.second is not None),
        }
        try:
            completion = await self.endpoint.post(body, before_another)
        except (Passing, Refused) as failure:
            if failure.may_be_paid or read_usage(failure.usage):
                failure.cost, failure.tokens = self._paid(question, failure.usage)
            raise
        return self._read(question, completion)

    def _read(self, question: Question, completion: Any) -> Reply:
        text = content_of(completion)
        if text is None:
            raise self._no_completion(question, completion)
        cost, tokens = self._paid(question, completion.get("usage"))
        cut_off = is_cut(choice := completion["choices"][0])
        if is_interrupted(choice):
            message = f"judge {self.name!r}: {self.endpoint.address} broke its answer off ({choice['finish_reason']})"
            raise Passing(message, cost=cost, tokens=tokens)
        try:
            answer = self._answer(question, text, cut_off)
        except MalformedReply:
            if is_filtered(choice):
                message = f"judge {self.name!r}: {self.endpoint.address} filtered its answer"
                raise Refused(message, "use another model, or switch its filter off", 200, cost=cost,
                              tokens=tokens) from None
            if self.format is None and cut_off and is_unfinished(text):
                raise JudgeError(f"judge {self.name!r} thought until max_tokens={self.max_tokens} and gave no answer "
                                 "to its first question; raise its max_tokens in params.yaml", cost, tokens) from None
            words = text or refusal_of(choice.get("message") or {})
            why = why_unreadable(choice, text, self.max_tokens, list(self.weights), question.second is not None)
            reply = Reply(_invalid(question, words), words, *tokens, cost)
            repeats = self.temperature == 0 and "temperature" not in self.endpoint.dropped
            raise Unusable(self.endpoint.without_key(why), reply, final=repeats) from None
        return Reply(answer, text, *tokens, cost)

    def _paid(self, question: Question, stated: Any) -> tuple[float, tuple[int, int]]:
        """Money and tokens of a call, by what its server states; where it states nothing, the most that it can cost."""
        usage = read_usage(stated)
        if usage is None:
            return self.worst_cost(question), (0, 0)
        self.longest_reply = max(self.longest_reply, usage.output)
        return self._charge(usage), (usage.input, usage.output)

    def _answer(self, question: Question, text: str, cut: bool) -> Answer:
        texts = [strip_role_tokens(one) for one in (question.first, question.second) if one is not None]
        if question.second is None:
            return read_ratings(text, list(self.weights), texts, cut)
        return read_verdict(text, self.weights, texts, cut)

    def _no_completion(self, question: Question, body: Any) -> Exception:
        """Something else than a model answered: a login page, a proxy. Says nothing about the question."""
        shown = self.endpoint.shown(body if isinstance(body, str) else json.dumps(body))[:100]
        where = f"judge {self.name!r}: {self.endpoint.address} answers with no completion, but with {shown!r}"
        stated = body.get("usage") if isinstance(body, Mapping) else None
        if self.format is None:
            cost, tokens = self._paid(question, stated) if read_usage(stated) else (0.0, (0, 0))
            wrong = f"{where}; correct the address in {self.url_variable}, which mostly ends in /v1"
            return JudgeError(wrong, cost, tokens)
        cost, tokens = self._paid(question, stated)
        return Passing(where, cost=cost, tokens=tokens)


def _response_format(form: str, criteria: list[str], paired: bool) -> dict[str, Any]:
    schema = {"json_schema": {"name": "judgement", "strict": True, "schema": answer_schema(criteria, paired)}}
    return {} if form == "text" else {"response_format": {"type": form, **(schema if form == "json_schema" else {})}}


def _invalid(question: Question, text: str) -> Answer:
    return {} if question.second is None else Verdict(0.5, valid=False, raw=text)
