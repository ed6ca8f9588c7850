"""The project's own sampler (models/sampling/sampler.py) behind the interface that all backends share."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from models.samplers.base import Progress, Prompt
from models.sampling.sampler import Sample, SamplingSettings, sample


@dataclass
class BatchedSampler:
    """Same batches, same bits; other batch sizes, the same texts but for rounding (fp32, CPU). With log-probs."""

    model: nn.Module
    stop_ids: frozenset[int]
    rows_per_batch: int

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """As `Sampler.sample`. Raises what `models.sampling.sampler.sample` raises."""
        rows = [(prompt.id, prompt.ids) for prompt in prompts]
        return sample(
            self.model, rows, n, settings, stop_ids=self.stop_ids, rows_per_batch=self.rows_per_batch, on_batch=on_batch
        )
