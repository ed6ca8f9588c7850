"""The loss gate: TRL trains a rollout by its own code, our engine learns from the same one, the numbers are compared.

TRL puts the score one place after a response that ends early, and counts a value there. So its whole path is compared
on responses that all run to the end, where both layouts are one; on responses that end by themselves, its formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.ppo import gates, ours
from benchmarks.ppo.workload import Workload
from models.chat.template import load_tokenizer
from models.ppo.advantages import gae
from models.ppo.losses import ppo_policy_loss, ppo_value_loss
from models.ppo.rollout import Rollout
from models.sampling.sampler import Sample

ROWS = 32
# Without clipping, and with one minibatch, a whole run is the same mathematics on both sides.
NO_CLIPPING = 1e9
NAMES = {"policy_loss": "loss/policy_avg", "value_loss": "loss/value_avg", "score": "objective/scores",
         "kl": "objective/kl", "reward_total": "objective/rlhf_reward", "clip_fraction": "policy/clipfrac_avg"}


def identical_run(work: Workload) -> Workload:
    """One rollout of responses that all run to the end, learned from three times as a single minibatch."""
    return replace(work, steps=1, batch_size=ROWS, minibatch_size=ROWS, rows_per_batch=ROWS, epochs=3, stops=False,
                   missing_eos_penalty=None, max_grad_norm=NO_CLIPPING, learning_rate=1e-4, max_new_tokens=24)


def whole_path(work: Workload) -> dict[str, tuple[float, float]]:
    """(ours, TRL's) losses, scores, KL and rewards of one rollout sampled by TRL, averaged over three updates."""
    from benchmarks.ppo import theirs

    work = identical_run(work)
    caught: list[tuple[torch.Tensor, ...]] = []
    original = theirs.ppo_trainer.batch_generation

    def catching(model: Any, queries: torch.Tensor, *rest: Any) -> Any:
        sequences, logits = original(model, queries, *rest)
        caught.append((queries, sequences[:, queries.shape[1] :], logits))
        return sequences, logits

    with patch.object(theirs.ppo_trainer, "batch_generation", catching):
        (logs,) = theirs.train(work)["logs"]
    tokenizer = load_tokenizer(Path(work.base))
    queries, responses, logits = caught[0]
    samples = _samples(queries, responses, logits, tokenizer.pad_token_id)
    engine = ours.trainer(work, tokenizer)
    engine.value.head.bias.requires_grad_(False)  # TRL's critic has none
    with patch("models.ppo.trainer.sample", return_value=samples):
        (history,) = engine.run().history
    return {name: (history[name], logs[theirs_name]) for name, theirs_name in NAMES.items()}


def _samples(queries: torch.Tensor, responses: torch.Tensor, logits: torch.Tensor, pad: int) -> list[Sample]:
    """TRL's rollout (left-padded queries, responses, tempered logits) as our sampler's."""
    chosen = logits.float().log_softmax(-1).gather(2, responses[..., None]).squeeze(2)
    assert not (responses == pad).any(), "a sampled PAD: TRL would end the response there; use another seed"
    return [
        Sample(str(i), 0, tuple(t for t in query if t != pad), tuple(response), tuple(logprobs), False)
        for i, (query, response, logprobs) in enumerate(
            zip(queries.tolist(), responses.tolist(), chosen.tolist(), strict=True))
    ]


def formulas(rollout: Rollout, work: Workload, seed: int = 0) -> dict[str, tuple[float, float]]:
    """(ours, TRL's formula) of losses and advantages on a rollout whose responses end by themselves.

    Log-probs and values of a policy that has moved are the old ones plus noise, wide enough to be clipped.
    """
    noise = torch.Generator().manual_seed(seed)
    mask = rollout.response_mask
    old = rollout.logprobs, rollout.values
    new, values = (x + 0.3 * torch.randn(x.shape, generator=noise).to(x) for x in old)
    clip, value_clip = work.clip_range, work.value_clip_range
    raw = gae(rollout.rewards, rollout.values, mask, work.gamma, work.lam)
    theirs = gates.trl_advantages(rollout.rewards, rollout.values, work.gamma, work.lam)
    pairs = {
        "policy loss, own lengths": (
            ppo_policy_loss(new, rollout.logprobs, rollout.advantages, mask, clip).loss,
            gates.trl_policy_loss(new, rollout.logprobs, rollout.advantages, mask, clip)),
        "value loss, own lengths": (
            ppo_value_loss(values, rollout.values, rollout.returns, mask, value_clip).loss,
            gates.trl_value_loss(values, rollout.values, rollout.returns, mask, value_clip)),
        "largest advantage, own lengths": (raw.abs().max(), (theirs * mask).abs().max()),
        "farthest advantage, own lengths": ((raw - theirs * mask).abs().max(), torch.tensor(0.0)),
    }
    return {name: (float(a), float(b)) for name, (a, b) in pairs.items()}


def own_rollout(work: Workload) -> Rollout:
    """A rollout of our engine, before its update."""
    work = replace(work, steps=1, batch_size=ROWS, minibatch_size=ROWS, rows_per_batch=ROWS)
    engine = ours.trainer(work, load_tokenizer(Path(work.base)))
    with patch.object(engine.observer, "on_rollout") as told:
        engine.run()
    return told.call_args.args[1]


def compare(work: Workload) -> dict[str, Sequence[float]]:
    """Every pair of the gate."""
    return {**whole_path(work), **formulas(own_rollout(work), work)}
