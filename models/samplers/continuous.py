"""transformers' continuous batching: rows of any age share a forward pass over a paged cache.

Plain length-sorted batches win on a CPU; this is for GPUs and prompts of very different lengths.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn
from transformers import ContinuousBatchingConfig, GenerationConfig

from models.lm.batching import evaluating, unwrapped
from models.samplers.base import Progress, Prompt, as_sample
from models.sampling.sampler import Sample, SamplingSettings, check_prompts

PAGE_TOKENS = 16
MINIMUM_BATCH_TOKENS = 256


@dataclass
class ContinuousSampler:
    """With log-probs. Which rows meet in a pass depends on timing, so equal runs may differ.

    Every call makes its own cache and drops it at the end: nothing outlives an update of the weights.
    """

    model: nn.Module
    stop_ids: frozenset[int]
    rows_per_batch: int

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """As `Sampler.sample`; progress is reported at the end only.

        Raises ValueError for prompts that leave no room, RuntimeError where the engine stops early, and
        FloatingPointError for logits that are not finite.
        """
        check_prompts(self.model, [(prompt.id, prompt.ids) for prompt in prompts], settings)
        rows = [(prompt, index) for prompt in prompts for index in range(n)]
        with evaluating(self.model):
            outputs = list(unwrapped(self.model).generate_batch(
                [list(prompt.ids) for prompt, _ in rows],
                generation_config=self._generation(settings),
                continuous_batching_config=self._engine(prompts, settings),
            ).values())  # fmt: skip
        failed = next((output.error for output in outputs if output.error is not None), None)
        if failed or len(outputs) < len(rows):
            raise RuntimeError(f"continuous batching stopped with {len(outputs)} of {len(rows)} responses: {failed}")
        if on_batch is not None:
            on_batch(len(rows), len(rows))
        return [self._sample(*row, output) for row, output in zip(rows, outputs, strict=True)]

    def _sample(self, prompt: Prompt, index: int, output) -> Sample:
        if not np.isfinite(output.logprobs).all():
            raise FloatingPointError(
                f"prompt {prompt.id!r}: the model's logits are not finite; its weights diverged: train it again with a "
                "lower learning rate"
            )
        return as_sample(prompt, index, output.generated_tokens, self.stop_ids, output.logprobs)

    def _generation(self, settings: SamplingSettings) -> GenerationConfig:
        sampling = {"do_sample": True, "temperature": settings.temperature, "top_k": 0, "top_p": 1.0}
        return GenerationConfig(
            **(sampling if settings.temperature > 0 else {"do_sample": False}),
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=sorted(self.stop_ids) or -1,
        )

    def _engine(self, prompts: Sequence[Prompt], settings: SamplingSettings) -> ContinuousBatchingConfig:
        """Room for `rows_per_batch` rows; left to itself the engine takes most of the machine's memory."""
        longest = max((len(prompt.ids) for prompt in prompts), default=1)
        pages = math.ceil((longest + settings.max_new_tokens) / PAGE_TOKENS) + 1
        return ContinuousBatchingConfig(
            seed=settings.seed,
            return_logprobs=True,
            allow_block_sharing=False,
            auto_switch_to_flash=False,
            page_size=PAGE_TOKENS,
            num_blocks=pages * self.rows_per_batch,
            max_batch_tokens=max(longest + self.rows_per_batch, MINIMUM_BATCH_TOKENS),
            max_requests_per_batch=self.rows_per_batch,
        )
