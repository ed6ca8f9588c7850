"""Forward passes over sampled responses without gradient, each process doing its share of the rows."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from models.compute import processes
from models.compute.concurrent import run_concurrently
from models.lm.batching import device_of
from models.lm.logprobs import in_batches, response_logprobs
from models.ppo.settings import PpoSettings
from models.ppo.value import SharedValue, ValueModel
from models.reward.scoring import Scorer
from models.sampling.sampler import Sample


def of_all_rows(compute: Scorer, samples: Sequence[Sample], device: torch.device) -> Tensor:
    """`compute(prompts, responses)` of all samples: (batch,), or (batch, time) with 0 after a response's end."""

    def of_some(rows: list[int]) -> list[Tensor]:
        part = compute([samples[i].prompt_ids for i in rows], [samples[i].response_ids for i in rows])
        return [row.clone() for row in part.float().cpu()]  # a view would be sent with all it is a view of

    rows = processes.spread(of_some, len(samples))
    whole = nn.utils.rnn.pad_sequence(rows, batch_first=True) if rows[0].dim() else torch.stack(rows)
    return whole.to(device)


def logprobs(model: nn.Module, samples: Sequence[Sample], settings: PpoSettings) -> Tensor:
    """(batch, time) nats at the sampling temperature."""
    device = device_of(model)

    def compute(prompt_ids, response_ids) -> Tensor:
        with settings.products(device):
            return response_logprobs(model, prompt_ids, response_ids, settings.temperature,
                                     rows_per_batch=settings.rows_per_batch).logprobs

    return of_all_rows(compute, samples, device)


def values(critic: ValueModel | SharedValue, samples: Sequence[Sample], settings: PpoSettings) -> Tensor:
    """(batch, time) the critic's, in the state that chooses each response token."""
    device = device_of(critic)

    def compute(prompt_ids, response_ids) -> Tensor:
        with settings.products(device):
            return in_batches(critic, prompt_ids, response_ids, settings.rows_per_batch, device)

    return of_all_rows(compute, samples, device)


def reference_and_values(
    policy: nn.Module, reference: nn.Module | None, critic: ValueModel | SharedValue, samples: Sequence[Sample],
    settings: PpoSettings,
) -> list[Tensor]:
    """The reference's log-probs and the critic's values; where nothing is shared by both, at the same time."""

    def reference_logprobs() -> Tensor:
        with policy.disable_adapter() if reference is None else nullcontext():
            return logprobs(reference or policy, samples, settings)

    def critic_values() -> Tensor:
        return values(critic, samples, settings)

    if reference is None and isinstance(critic, SharedValue):  # one backbone, its adapter off and on
        return [reference_logprobs(), critic_values()]
    return run_concurrently([reference_logprobs, critic_values], device_of(policy))
