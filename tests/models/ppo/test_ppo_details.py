"""The details that decide whether PPO learns (Huang et al. 2024), in the engine as it is put together.

Losses, advantages, KL, sampling and scores have tests of their own; here is what would break between them.
"""

import dataclasses

import pytest
import torch

from models.lm.logprobs import batch_logprobs, join
from models.ppo import update as ppo_update
from models.ppo.losses import ppo_policy_loss, ppo_value_loss
from models.ppo.settings import PpoSettings
from models.ppo.trainer import PpoTrainer
from models.ppo.update import accumulate_gradients, make_optimizer, trainable
from models.ppo.value import SharedValue, ValueModel
from models.reward.scoring import RewardSignal, model_scorer, score
from tests.support.rl_models import gpt2, gpt2_reward, hearing, llama, lora, prompts

SETTINGS = PpoSettings(episodes=32, batch_size=16, minibatch_size=8, max_new_tokens=10, learning_rate=1e-3, epochs=2,
                       normalise_samples=32, rows_per_batch=16)
LENGTH = RewardSignal("length", lambda p, r: torch.tensor([float(len(x)) for x in r]))


def trainer(policy=None, **changes):
    policy = policy or llama(initializer_range=0.1)
    given = dict(policy=policy, value=ValueModel.with_zero_head(policy), rewards=[LENGTH],
                 reference=llama(initializer_range=0.1), stop_ids=frozenset({2, 5, 6, 7}), prompts=prompts(20),
                 settings=SETTINGS)
    return PpoTrainer(**{**given, **changes})


def settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


def rollouts_of(run):
    seen = []
    run.observer = hearing(on_rollout=lambda step, rollout: seen.append(rollout))
    run.run()
    return seen


@pytest.mark.parametrize("whiten_rewards", [False, True])
@pytest.mark.parametrize("mode", ["subtract", "replace"])
def test_a_rollout_by_the_formulas(mode, whiten_rewards):
    """The second rollout, whose policy has left its reference, row by row in plain Python.

    The length is normalised on samples of the first policy; a response without a stop token costs 2 or scores −2; the
    price of the KL stands on every token and the score on the last; GAE; then whitening over all tokens of the batch.
    """
    run = trainer(settings=settings(missing_eos_penalty=2.0, missing_eos_mode=mode, whiten_rewards=whiten_rewards,
                                    kl_coefficient=0.3, gamma=0.9, lam=0.8, learning_rate=0.01))
    rollout = rollouts_of(run)[1]
    mean, deviation = run.scales["length"]
    rows, lengths = [], [len(response) for response in rollout.response_ids]
    assert len(set(rollout.finished.tolist())) == 2
    for i, length in enumerate(lengths):
        total = (length - mean) / deviation
        if not rollout.finished[i]:
            total = total - 2 if mode == "subtract" else -2.0
        kl = rollout.logprobs[i, :length] - rollout.reference_logprobs[i, :length]
        assert kl.abs().max() > 1e-3 and float(rollout.scores[i]) == pytest.approx(total, abs=1e-5)
        rows.append([-0.3 * k + (total if t == length - 1 else 0.0) for t, k in enumerate(kl.tolist())])
    expected = torch.cat([torch.tensor(row) for row in rows])
    torch.testing.assert_close(rollout.rewards[rollout.response_mask], expected, rtol=1e-4, atol=1e-5)
    if whiten_rewards:
        scaled = (expected - expected.mean()) / expected.std() + expected.mean()
        rows = [part.tolist() for part in scaled.split(lengths)]
    raw = torch.cat([torch.tensor(slow_gae(row, rollout.values[i].tolist())) for i, row in enumerate(rows)])
    values = rollout.values[rollout.response_mask]
    torch.testing.assert_close(rollout.returns[rollout.response_mask], raw + values, rtol=1e-3, atol=1e-4)
    whitened = (raw - raw.mean()) / raw.std()
    torch.testing.assert_close(rollout.advantages[rollout.response_mask], whitened, rtol=1e-3, atol=1e-4)


def slow_gae(rewards, values, gamma=0.9, lam=0.8):
    advantages = [0.0] * (len(rewards) + 1)
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(rewards) else 0.0
        advantages[t] = rewards[t] + gamma * following - values[t] + gamma * lam * advantages[t + 1]
    return advantages[:-1]


def test_dropout_is_off_in_critic_and_reward_model_too():
    """All four in train mode with GPT-2's dropout of 0.1: values and scores are those without dropout."""
    reward, policy = gpt2_reward().train(), gpt2().train()
    value = ValueModel.with_zero_head(policy).train()
    torch.nn.init.normal_(value.head.weight)
    run = trainer(policy, value=value, reference=gpt2().train(), rewards=[RewardSignal("m", model_scorer(reward, 16))],
                  settings=settings(episodes=16))
    expected = {}

    def look(step, rollout):
        batch = join(rollout.prompt_ids, rollout.response_ids)
        expected["values"] = value.eval()(batch), rollout.values
        whole = [[*p, *r] for p, r in zip(rollout.prompt_ids, rollout.response_ids, strict=True)]
        expected["scores"] = score(reward.eval(), whole, 16), rollout.signals["m"]
        expected["kl"] = rollout.logprobs, rollout.reference_logprobs

    run.observer = hearing(on_rollout=look)
    run.run()
    for mine, other in expected.values():
        torch.testing.assert_close(mine.detach(), other, rtol=1e-3, atol=1e-4)


def test_every_epoch_shuffles_afresh_and_every_minibatch_is_one_step(monkeypatch):
    seen, original = [], ppo_update.accumulate_gradients

    def record(policy, value, rollout, rows, *rest):
        seen.append(list(rows))
        return original(policy, value, rollout, rows, *rest)

    monkeypatch.setattr(ppo_update, "accumulate_gradients", record)
    run = trainer()
    run.run()
    epochs = [[*first, *second] for first, second in zip(seen[::2], seen[1::2], strict=True)]
    assert len(epochs) == 4 and all(sorted(rows) == list(range(16)) for rows in epochs)
    assert len({frozenset(rows) for rows in seen}) == len(seen)  # no minibatch comes twice
    assert {int(state["step"]) for state in run.optimizer.state.values()} == {len(seen)} == {8}


def test_the_optimizer():
    policy = llama()
    for group in make_optimizer(policy, SharedValue(policy), SETTINGS).param_groups:
        assert (group["eps"], group["weight_decay"], group["betas"]) == (1e-5, 0.0, (0.9, 0.999))


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_gradients_are_those_of_both_losses(adapter, shared):
    """Policy loss + 0.1 · value loss over all tokens of the minibatch, each from a forward pass of its own."""
    policy = lora(llama(initializer_range=0.1)) if adapter else llama(initializer_range=0.1)
    value = SharedValue(policy) if shared else ValueModel.with_zero_head(llama(initializer_range=0.1))
    rollout = rollouts_of(trainer(policy, value=value, settings=settings(episodes=16)))[0]
    tensors, mask = [*trainable(policy), *trainable(value)], rollout.response_mask
    batch = join(rollout.prompt_ids, rollout.response_ids)
    surrogate = ppo_policy_loss(batch_logprobs(policy, batch, 1.0).logprobs, rollout.logprobs, rollout.advantages, mask,
                                0.2).loss
    error = ppo_value_loss(value(batch), rollout.values, rollout.returns, mask, 0.2).loss
    parts = (torch.autograd.grad(loss, tensors, materialize_grads=True) for loss in (surrogate, error))
    expected = [a + 0.1 * b for a, b in zip(*parts, strict=True)]
    for tensor in tensors:
        tensor.grad = None
    for rows in (range(5), range(5, 16)):
        accumulate_gradients(policy, value, rollout, rows, int(mask.sum()), SETTINGS)
    for tensor, gradient in zip(tensors, expected, strict=True):
        torch.testing.assert_close(tensor.grad, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_value_loss_falls(shared):
    """The reward is always 1 and nothing else counts, so that every return is 1: the critic has only that to learn."""
    policy = llama(initializer_range=0.1)
    value = SharedValue(policy) if shared else ValueModel.with_zero_head(policy)
    run = trainer(policy, value=value, rewards=[RewardSignal("one", lambda p, r: torch.ones(len(r)))],
                  settings=settings(episodes=16 * 8, kl_coefficient=0.0, normalise_reward=False, lam=1.0,
                                    missing_eos_penalty=None, learning_rate=5e-3))
    history = run.run().history
    assert history[0]["returns"] == pytest.approx(1.0)
    assert history[-1]["value_loss"] < 0.5 * history[0]["value_loss"]


def test_the_kl_to_the_reference_is_never_below_0_but_for_noise():
    history = trainer(settings=settings(episodes=16 * 6, learning_rate=5e-3, temperature=0.7)).run().history
    assert all(step["kl"] > -4 * step["kl_standard_error"] - 1e-4 for step in history)
    assert history[-1]["kl"] > 0.05


def test_the_controller_moves_the_price_of_kl():
    """Each rollout's price is the last one's times 1 + clip(kl / target − 1, ±0.2) · 16 / 100."""
    history = trainer(settings=settings(episodes=64, kl_target=0.5, kl_horizon_episodes=100)).run().history
    for before, after in zip(history, history[1:], strict=False):
        error = min(max(before["kl"] / 0.5 - 1, -0.2), 0.2)
        assert after["kl_coefficient"] == pytest.approx(before["kl_coefficient"] * (1 + error * 0.16))
        assert after["kl_coefficient"] != before["kl_coefficient"]
    fixed = trainer(settings=settings(episodes=64)).run().history
    assert {step["kl_coefficient"] for step in fixed} == {0.05}


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_the_critic_expects_what_the_weighted_reward_leaves(weight):
    """Its values as they are in the reward model's unit, scaled as first of two signals: weight · (v − mean) / sd."""
    reward = gpt2_reward()
    value = ValueModel.from_reward_model(reward)
    run = trainer(gpt2(), reference=gpt2(), value=value, settings=settings(episodes=16),
                  rewards=[RewardSignal("m", model_scorer(reward, 16), weight), LENGTH])
    rollout = rollouts_of(run)[0]
    mean, deviation = run.scales["m"]
    raw = ValueModel.from_reward_model(reward).eval()(join(rollout.prompt_ids, rollout.response_ids))
    scaled = torch.where(rollout.response_mask, weight * (raw - mean) / deviation, 0.0)
    torch.testing.assert_close(rollout.values, scaled.detach(), rtol=1e-3, atol=1e-4)
