"""Any endpoint that speaks OpenAI's chat completions: a hosted model, vLLM or `transformers serve` elsewhere."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from openai import APIConnectionError, APIStatusError, OpenAI

from models.chat.template import encode_example, stop_ids
from models.samplers.base import Progress, Prompt, as_sample, request_seed
from models.sampling.sampler import Sample, SamplingSettings

URL_VARIABLE, KEY_VARIABLE = "PLUMB_SAMPLER_URL", "PLUMB_SAMPLER_KEY"
RETRIES = 5
PASSING_STATUS = (408, 409, 425, 429)  # and all from 500


class OpenAISampler:
    """Without log-probs: few endpoints return them, and none says at which temperature.

    Each request carries its own seed, which a server may ignore, so nothing is promised about equal runs. The server
    applies its own chat template, and what its model's generation_config.json adds (`transformers serve` is greedy
    unless do_sample stands there). Its text is tokenised here again, so tokens may differ from those it sampled.
    """

    def __init__(self, model: str | None, tokenizer: Any, requests_at_once: int):
        """Raises ValueError without a model's name or without an address in the environment."""
        url = os.environ.get(URL_VARIABLE, "").strip()
        if not model:
            raise ValueError(
                "sampler openai needs the model's name at the endpoint; set generate.served_model in params.yaml"
            )
        if not url.startswith(("http://", "https://")):
            raise ValueError(
                f"sampler openai needs its endpoint's address in the environment variable {URL_VARIABLE}, which is"
                f" {url!r}; set it, for example to http://localhost:8000/v1"
            )
        key = os.environ.get(KEY_VARIABLE, "").strip() or "none"
        self.model, self.tokenizer, self.requests_at_once = model, tokenizer, requests_at_once
        self.stop_ids = stop_ids(tokenizer)
        self._client = OpenAI(base_url=url, api_key=key, max_retries=RETRIES)

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """As `Sampler.sample`; responses that the server cut off, or that are longer here, are unfinished.

        Raises ConnectionError for what may pass by itself, and ValueError for a request that the server refuses.
        """
        rows = [(prompt, index) for prompt in prompts for index in range(n)]
        samples = []
        with ThreadPoolExecutor(self.requests_at_once) as threads:
            for drawn in threads.map(lambda row: self._sample(*row, settings), rows):
                samples.append(drawn)
                if on_batch is not None and (len(samples) % self.requests_at_once == 0 or len(samples) == len(rows)):
                    on_batch(len(samples), len(rows))
        return samples

    def _sample(self, prompt: Prompt, index: int, settings: SamplingSettings) -> Sample:
        text, complete = self._ask(prompt, request_seed(settings.seed, prompt.id, index), settings)
        turns = [*prompt.messages, {"role": "assistant", "content": text}]
        _, ids = encode_example(self.tokenizer, turns, ended=complete)
        return as_sample(prompt, index, ids[: settings.max_new_tokens], self.stop_ids)

    def _ask(self, prompt: Prompt, seed: int, settings: SamplingSettings) -> tuple[str, bool]:
        """The text, and whether the model itself ended it."""
        try:
            completion = self._client.chat.completions.create(
                model=self.model, messages=list(prompt.messages), temperature=settings.temperature, top_p=1.0,
                max_tokens=settings.max_new_tokens, seed=seed,
            )
        except APIConnectionError as error:
            raise ConnectionError(f"no answer from {self._client.base_url} ({URL_VARIABLE}): {error}") from None
        except APIStatusError as error:
            if error.status_code in PASSING_STATUS or error.status_code >= 500:
                message = f"{self._client.base_url} answered {error.status_code}: {error.message}"
                raise ConnectionError(message) from None
            raise ValueError(
                f"{self._client.base_url} refused prompt {prompt.id!r} for model {self.model!r} with"
                f" {error.status_code}: {error.message}; check {URL_VARIABLE}, {KEY_VARIABLE} and generate.served_model"
            ) from None
        choice = completion.choices[0]
        return choice.message.content or "", choice.finish_reason == "stop"
