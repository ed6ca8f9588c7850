"""Any endpoint that speaks OpenAI's chat completions: a hosted model, vLLM or `transformers serve` elsewhere."""

import asyncio
from collections.abc import Sequence
from typing import Any

from models.chat.template import encode_example, stop_ids
from models.endpoints.endpoint import Endpoint, content_of, run
from models.endpoints.failures import EndpointError, Passing, Refused
from models.endpoints.retries import AskingSettings, attempts
from models.samplers.base import Progress, Prompt, as_sample, request_seed
from models.sampling.sampler import Sample, SamplingSettings

URL_VARIABLE, KEY_VARIABLE = "PLUMB_SAMPLER_URL", "PLUMB_SAMPLER_KEY"
TIMEOUT_SECONDS = 600.0  # a long answer takes minutes
_OPTIONAL = {"seed": None, "top_p": None, "max_tokens": "max_completion_tokens"}  # fields that a server may refuse


class OpenAISampler:
    """Without log-probs: few endpoints return them, and none says at which temperature.

    Each request carries its own seed, which a server may ignore, so nothing is promised about equal runs. The server
    applies its own chat template, and what its model's generation_config.json adds (`transformers serve` is greedy
    unless do_sample stands there). Its text is tokenised here again, so tokens may differ from those it sampled.
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
        self.endpoint = Endpoint("sampler openai", model, URL_VARIABLE, KEY_VARIABLE, TIMEOUT_SECONDS, _OPTIONAL,
                                 key_optional=True)
        self.endpoint.url()

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """As `Sampler.sample`; responses that the server cut off, or that are longer here, are unfinished.

        Raises ConnectionError for what may pass by itself, and ValueError for a request that the server refuses.
        """
        drawn = run(self._sample_all([(prompt, index) for prompt in prompts for index in range(n)], settings, on_batch))
        for name, place in self.endpoint.dropped.items():
            print(f"sampler openai: its server refuses {name}; it is asked "
                  f"{f'with {place} in its place' if place else 'without it'}")
        return drawn

    async def _sample_all(
        self, rows: Sequence[tuple[Prompt, int]], settings: SamplingSettings, on_batch: Progress | None
    ) -> list[Sample]:
        slots, done = asyncio.Semaphore(self.requests_at_once), 0

        async def one(prompt: Prompt, index: int) -> Sample:
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

    async def _sample(self, prompt: Prompt, index: int, settings: SamplingSettings) -> Sample:
        text, complete = await self._ask(prompt, request_seed(settings.seed, prompt.id, index), settings)
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
                    completion = await self.endpoint.post(body)
        except Passing as failure:
            raise ConnectionError(f"{failure}; asked {attempt.retry_state.attempt_number} times") from None
        except Refused as refusal:
            raise ValueError(f"{refusal}; it refused prompt {prompt.id!r} for model {self.model!r}: "
                             f"check {URL_VARIABLE}, {KEY_VARIABLE} and generate.served_model") from None
        text = content_of(completion)
        if text is None:
            shown = self.endpoint.shown(str(completion))[:100]
            raise EndpointError(f"sampler openai: {self.endpoint.address} answers with no completion, but with "
                                f"{shown!r}; correct the address in {URL_VARIABLE}, which mostly ends in /v1")
        return text, completion["choices"][0].get("finish_reason") == "stop"
