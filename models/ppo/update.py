"""The update: several epochs of clipped policy and value losses over one rollout."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.compute import processes
from models.compute.concurrent import run_concurrently
from models.lm.batching import by_length, device_of
from models.lm.logprobs import ResponseLogprobs, batch_logprobs, join
from models.ppo.losses import PolicyLoss, ValueLoss, ppo_policy_loss, ppo_value_loss
from models.ppo.rollout import Rollout
from models.ppo.settings import PpoSettings
from models.ppo.value import SharedValue, ValueModel
from models.sampling.randomness import generator


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def make_optimizer(policy: nn.Module, value: ValueModel | SharedValue, settings: PpoSettings) -> torch.optim.AdamW:
    """One AdamW in two groups: policy, value (the head alone where the policy's backbone is shared)."""
    groups = [{"params": trainable(policy)}, {"params": trainable(value)}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, eps=settings.adam_eps, weight_decay=0.0, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, settings: PpoSettings, step: int) -> float:
    """Linear decay, a pure function of the step, so that there is no scheduler to save; returns the policy's rate."""
    share = 1 - step / settings.steps
    rates = settings.learning_rate, settings.value_learning_rate or settings.learning_rate
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * share
    return optimizer.param_groups[0]["lr"]


def update(
    policy: nn.Module,
    value: ValueModel | SharedValue,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    settings: PpoSettings,
    step: int,
) -> dict[str, float]:
    """Runs all optimizer steps of one rollout.

    Returns:
        Statistics averaged over the minibatches, and those of the first, taken before any weight has changed.

    Raises:
        FloatingPointError: a loss or gradient is not finite; the optimizer step is then not taken.
    """
    statistics = []
    for epoch in range(settings.epochs):
        order = generator(settings.seed, "minibatches", step, epoch).permutation(len(rollout.response_ids))
        for start in range(0, len(order), settings.minibatch_size):
            rows = order[start : start + settings.minibatch_size].tolist()
            statistics.append(_minibatch_step(policy, value, optimizer, rollout, rows, settings))
    average = {name: sum(s[name] for s in statistics) / len(statistics) for name in statistics[0]}
    first = {f"first_{name}": statistics[0][name] for name in ("ratio", "approx_kl", "clip_fraction")}
    return {**average, **first}


def _minibatch_step(policy, value, optimizer, rollout: Rollout, rows: list[int], settings) -> dict[str, float]:
    """One optimizer step: losses averaged over the tokens of the whole minibatch, whatever the micro-batches.

    Every process takes its share of the rows; summed, their gradients are the minibatch's.
    """
    optimizer.zero_grad(set_to_none=True)
    tokens = sum(len(rollout.response_ids[i]) for i in rows)
    mine = [rows[i] for i in processes.share(len(rows))]
    sizes = [len(rollout.prompt_ids[i]) + len(rollout.response_ids[i]) for i in mine]
    parts = [
        accumulate_gradients(policy, value, rollout, [mine[i] for i in micro], tokens, settings)
        for micro in by_length(sizes, settings.rows_per_backward or len(mine))
    ]
    sums = torch.stack([torch.stack(list(p.values())) for p in parts]).sum(0)
    processes.add_up([sums, *(p.grad for p in trainable(policy) + trainable(value) if p.grad is not None)])
    statistics = dict(zip(parts[0], sums, strict=True))
    for name, model in (("policy", policy), ("value", value)):
        statistics[f"{name}_gradient_norm"] = nn.utils.clip_grad_norm_(trainable(model), settings.max_grad_norm)
    metrics = dict(zip(statistics, torch.stack(list(statistics.values())).tolist(), strict=True))
    check_finite(metrics)
    optimizer.step()
    return metrics


def accumulate_gradients(
    policy: nn.Module, value: ValueModel | SharedValue, rollout: Rollout, rows: Sequence[int], tokens: int,
    settings: PpoSettings,
) -> dict[str, Tensor]:
    """Adds the gradients of some rows' share of the minibatch loss, policy loss + value_coefficient · value loss.

    Args:
        tokens: response tokens of the whole minibatch.

    Returns:
        The rows' share of each loss and statistic, scalars that add up to the minibatch's.
    """
    batch = join([rollout.prompt_ids[i] for i in rows], [rollout.response_ids[i] for i in rows], device_of(policy))
    mask = batch.response_mask
    index, width = torch.tensor(rows, device=mask.device), mask.shape[1]

    def policy_part(new: ResponseLogprobs) -> PolicyLoss:
        return ppo_policy_loss(new.logprobs, rollout.logprobs[index, :width], rollout.advantages[index, :width], mask,
                               settings.clip_range, tokens)

    def value_part(values: Tensor) -> ValueLoss:
        return ppo_value_loss(values, rollout.values[index, :width], rollout.returns[index, :width], mask,
                              settings.value_clip_range, tokens)

    def learn(forward: Callable[[], Any], part: Callable[[Any], Any], weight: float) -> Any:
        with settings.products(mask.device):
            output = forward()
        loss = part(output)
        (weight * loss.loss).backward()
        return loss

    if isinstance(value, SharedValue):
        with settings.products(mask.device):
            new, values = value.with_logprobs(batch, settings.temperature)
        policy_loss, value_loss = policy_part(new), value_part(values)
        (policy_loss.loss + settings.value_coefficient * value_loss.loss).backward()
    else:
        # In turn, the graphs of the two networks never lie in memory together; side by side they keep two cores busy.
        policy_loss, value_loss = run_concurrently([
            lambda: learn(lambda: batch_logprobs(policy, batch, settings.temperature), policy_part, 1.0),
            lambda: learn(lambda: value(batch), value_part, settings.value_coefficient),
        ], mask.device)  # fmt: skip
    return {
        "policy_loss": policy_loss.loss.detach(),
        "value_loss": value_loss.loss.detach(),
        "approx_kl": policy_loss.approx_kl,
        "clip_fraction": policy_loss.clip_fraction,
        "value_clip_fraction": value_loss.clip_fraction,
        "ratio": policy_loss.ratio,
    }


def check_finite(metrics: dict[str, float]) -> None:
    """Raises FloatingPointError naming the first metric that is not finite."""
    for name, metric in metrics.items():
        if not math.isfinite(metric):
            raise FloatingPointError(f"{name}={metric} is not finite; lower the learning rate or check the rewards")
