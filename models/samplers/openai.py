"""Any endpoint that speaks OpenAI's chat completions: a hosted model, vLLM or `transformers serve` elsewhere."""

import asyncio
from collections.abc import Sequence
from typing import Any

from models.chat.template import encode_example, stop_ids
from models.endpoints.endpoint import Endpoint, content_of, is_filtered, is_interrupted, run
from models.endpoints.failures import EndpointError, Passing, Refused, print_failures
from models.endpoints.retries import FAILURES_ALLOWED, AskingSettings, attempts
from models.samplers.base import Progress, Prompt, as_sample, request_seed
from models.sampling.sampler import Sample, SamplingSettings

URL_VARIABLE, KEY_VARIABLE = "PLUMB_SAMPLER_URL", "PLUMB_SAMPLER_KEY"
TIMEOUT_SECONDS = 600.0  # a long answer takes minutes
_HARMLESS = [{"role": "user", "content": "Say good morning."}]
_OPTIONAL = {"seed": None, "top_p": None, "max_tokens": "max_completion_tokens"}  # fields that a server may refuse


class OpenAISampler:
    """Without log-probs: few endpoints return them, and none says at which temperature.

    Each request carries its own seed, which a server may ignore, so nothing is promised about equal runs. The server
    applies its own chat template, and what its model's generation_config.json adds (`transformers serve` is greedy
    unless do_sample stands there). Its text is tokenised here again, so tokens may differ from those it sampled.

    `failures`: one line for each request that the server refused for good, or never answered, although it answered
    others. Its sample is left out.
    """

    def __init__(
        self, model: str | None, tokenizer: Any, requests_at_once: int, asking: AskingSettings = AskingSettings()
    ):
        """asking: how often, and for how long; its concurrency is `requests_at_once`. Raises ValueError without a
        model's name, or without an address in the environment."""
        if not model:
            raise ValueError(
                "sampler openai needs the model's name at the endpoint; set generate.served_model in params.yaml"
            )
        self.model, self.tokenizer, self.requests_at_once, self.asking = model, tokenizer, requests_at_once, asking
        self.stop_ids = stop_ids(tokenizer)
        self.failures: list[str] = []
        self.requested, self.heard = 0, False  # heard: whether it ever answered
        self.endpoint = Endpoint("sampler openai", model, URL_VARIABLE, KEY_VARIABLE, TIMEOUT_SECONDS, _OPTIONAL,
                                 key_optional=True)
        self.endpoint.url()

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """As `Sampler.sample`; responses that the server cut off, or that are longer here, are unfinished, and those
        that it refuses are missing.

        Raises ConnectionError for what may pass by itself, and ValueError where the server refuses more of all requests
        so far than `asking` allows, or a harmless one.
        """
        known, rows = len(self.failures), [(prompt, index) for prompt in prompts for index in range(n)]
        self.requested += len(rows)
        drawn = [one for one in run(self._sample_all(rows, settings, on_batch)) if one is not None]
        if rows and not drawn:
            raise ValueError(f"{self.failures[-1]}; no prompt was answered")
        print_failures(self.endpoint.owner, self.endpoint.dropped, self.failures[known:])
        return drawn

    async def _sample_all(
        self, rows: Sequence[tuple[Prompt, int]], settings: SamplingSettings, on_batch: Progress | None
    ) -> list[Sample | None]:
        slots, done, self._probing = asyncio.Semaphore(self.requests_at_once), 0, asyncio.Lock()

        async def one(prompt: Prompt, index: int) -> Sample | None:
            nonlocal done
            async with slots:
                drawn = await self._sample(prompt, index, settings)
            done += 1
            if on_batch is not None and (done % self.requests_at_once == 0 or done == len(rows)):
                on_batch(done, len(rows))
            return drawn

        async with self.endpoint:
            tasks = [asyncio.create_task(one(*row)) for row in rows]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _sample(self, prompt: Prompt, index: int, settings: SamplingSettings) -> Sample | None:
        try:
            text, complete = await self._ask(prompt, request_seed(settings.seed, prompt.id, index), settings)
        except (Passing, Refused) as failure:
            await self._leave_out(prompt, failure)
            return None
        turns = [*prompt.messages, {"role": "assistant", "content": text}]
        _, ids = encode_example(self.tokenizer, turns, ended=complete)
        return as_sample(prompt, index, ids[: settings.max_new_tokens], self.stop_ids)

    async def _ask(self, prompt: Prompt, seed: int, settings: SamplingSettings) -> tuple[str, bool]:
        """The text, and whether the model itself ended it."""
        body = {"model": self.model, "messages": list(prompt.messages), "temperature": settings.temperature,
                "top_p": 1.0, "max_tokens": settings.max_new_tokens, "seed": seed}  # fmt: skip
        try:
            async for attempt in attempts(self.asking):
                with attempt:
                    await self.endpoint.pace.turn()
                    text, ended = self._read(await self.endpoint.post(body))
        except Passing as failure:
            message = f"{failure}; asked {attempt.retry_state.attempt_number} times"
            raise Passing(message, busy=failure.busy) from None
        return text, ended == "stop"

    def _read(self, completion: Any) -> tuple[str, Any]:
        """The text, and why it ends. Raises Passing for what is no answer once there was one, and for one that was
        broken off, Refused for one that was filtered, EndpointError for what is none."""
        text, where = content_of(completion), f"sampler openai: {self.endpoint.address}"
        if text is None:
            none = f"{where} answers with no completion, but with {self.endpoint.shown(str(completion))[:100]!r}"
            if self.heard:
                raise Passing(none)
            raise EndpointError(f"{none}; correct the address in {URL_VARIABLE}, which mostly ends in /v1")
        self.heard, choice = True, completion["choices"][0]
        reason = choice.get("finish_reason")
        if is_interrupted(choice):
            raise Passing(f"{where} broke its answer off ({reason})")
        if is_filtered(choice):
            raise Refused(f"{where} filtered its answer", "use another model, or switch its filter off", 200)
        return text, reason

    async def _leave_out(self, prompt: Prompt, failure: Passing | Refused) -> None:
        """Note that a prompt has no answer, where it is the prompt that the server refuses or cannot answer.

        Raises ConnectionError or ValueError elsewhere: too many are, a harmless one as well, or it is too busy.
        """
        self.failures.append(f"sampler openai left out an answer to prompt {prompt.id!r}: {failure}")
        few = self.asking.allows(len(self.failures), self.requested)
        async with self._probing:
            if few and not (isinstance(failure, Passing) and failure.busy) and await self._answers_another():
                return
        missing = "" if few else (
            f"; so {len(self.failures)} of {self.requested} answers are missing, more than {FAILURES_ALLOWED} and "
            f"{self.asking.failed_share:g} of all (generate.asking.failed_share)"
        )
        if isinstance(failure, Passing):
            raise ConnectionError(f"{failure}{missing}") from None
        raise ValueError(f"{failure}; it refused prompt {prompt.id!r} for model {self.model!r}{missing}: "
                         f"check {URL_VARIABLE}, {KEY_VARIABLE} and generate.served_model") from None

    async def _answers_another(self) -> bool:
        """Whether the server answered a prompt before, or answers a harmless one."""
        if self.endpoint.answered:
            return True
        try:
            await self.endpoint.pace.turn()
            await self.endpoint.post({"model": self.model, "messages": _HARMLESS})
        except (Passing, Refused):
            return False
        return True
