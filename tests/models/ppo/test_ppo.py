"""PPO end to end on two-layer random models: signs that it is right, guards, resume."""

import dataclasses
import math

import pytest
import torch
from safetensors.torch import load_file

from models.ppo import checkpoint as ppo_checkpoint
from models.ppo.guards import tripped
from models.ppo.settings import PpoSettings
from models.ppo.trainer import PpoTrainer
from models.ppo.update import make_optimizer, trainable
from models.ppo.value import SharedValue, ValueModel
from models.reward.scoring import RewardSignal, model_scorer
from tests.support.rl_models import gpt2, gpt2_reward, hearing, llama, llama_reward, lora, prompts

SETTINGS = PpoSettings(episodes=64, batch_size=16, minibatch_size=8, max_new_tokens=10, learning_rate=1e-3, epochs=2,
                       normalise_samples=32, rows_per_batch=16)
STOPS = frozenset({2})


def share_of_sevens(prompt_ids, response_ids):
    return torch.tensor([sum(token == 7 for token in response) / len(response) for response in response_ids])


# Of the way that training has moved the weights (norms over all): kernels of a GPU add in no fixed order.
GPU_RESUME_TOLERANCE = 0.01
SEVENS = RewardSignal("sevens", share_of_sevens)


def trainer(policy=None, **changes):
    policy = policy or llama(initializer_range=0.1)
    given = dict(policy=policy, value=ValueModel.with_zero_head(policy), rewards=[SEVENS],
                 reference=llama(initializer_range=0.1), stop_ids=STOPS, prompts=prompts(20), settings=SETTINGS)
    return PpoTrainer(**{**given, **changes})


def settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_reward_rises(shared):
    """A bandit: the share of token 7 starts near 1/40 and must rise several-fold."""
    policy = llama(initializer_range=0.1)
    value = SharedValue(policy) if shared else ValueModel.with_zero_head(policy)
    given = settings(episodes=64 * 12, batch_size=64, minibatch_size=16, learning_rate=5e-3, kl_coefficient=0.0,
                     missing_eos_penalty=None)
    run = trainer(policy, value=value, settings=given).run()
    rewards = [step["reward_sevens"] for step in run.history]
    assert run.steps_done == run.steps_asked == 12 and run.stop_reason is None
    assert rewards[0] < 0.1 and rewards[-1] > 0.5


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_before_the_first_update(temperature):
    """Old, new and reference log-probs are all taken at the sampling temperature."""
    first = trainer(settings=settings(episodes=16, temperature=temperature)).run().history[0]
    assert abs(first["kl"]) < 1e-4
    assert abs(first["first_ratio"] - 1) < 1e-4
    assert first["first_clip_fraction"] == 0
    assert first["first_approx_kl"] < 1e-6


def test_dropout_is_off_and_flags_come_back():
    """GPT-2 with its usual dropout of 0.1, in train mode, with PAD equal to EOS."""
    policy, reward = gpt2().train(), gpt2_reward()
    run = trainer(policy, reference=gpt2(), value=ValueModel.from_reward_model(reward),
                  rewards=[RewardSignal("model", model_scorer(reward, 16))])
    first = run.run().history[0]
    assert abs(first["first_ratio"] - 1) < 1e-4 and abs(first["kl"]) < 1e-4
    assert policy.training and policy.transformer.drop.training


def test_same_seed_same_bits_and_other_seed_other_run():
    runs = []
    for seed in (0, 0, 1):
        policy = llama(initializer_range=0.1)
        trainer(policy, settings=settings(seed=seed)).run()
        runs.append(torch.cat([p.detach().flatten() for p in policy.parameters()]))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


class Killed(Exception):
    pass


def uninterrupted_and_resumed(make, folder):
    """A run of four steps, and one that is killed after its second and continued; `make` makes trainers."""
    whole = make(checkpoint_dir=folder / "b")
    whole_result = whole.run()

    def die(step, total, metrics):
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        make(observer=hearing(on_step=die)).run()
    resumed = make()
    return whole, whole_result, resumed, resumed.run()


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, adapter, shared):
    def make(**changes):
        policy = lora(llama(initializer_range=0.1)) if adapter else llama(initializer_range=0.1)
        reward = llama_reward(initializer_range=0.1)
        value = SharedValue(policy) if shared else ValueModel.from_reward_model(reward)
        given = dict(value=value, settings=settings(checkpoint_every=1, kl_target=0.05), checkpoint_dir=tmp_path / "a")
        return trainer(policy, reference=None if adapter else llama(initializer_range=0.1), **{**given, **changes})

    whole, whole_result, resumed, result = uninterrupted_and_resumed(make, tmp_path)
    assert result.history == whole_result.history and result.steps_done == 4
    for mine, other in ((resumed.policy, whole.policy), (resumed.value, whole.value)):
        for (name, a), b in zip(mine.named_parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b), name
    mine, other = (ppo_checkpoint.optimizer_tensors(t.optimizer) for t in (resumed, whole))
    assert mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
    assert resumed.kl == whole.kl
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["checkpoint-00000004"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_resume_on_a_gpu_is_within_the_stated_tolerance(tmp_path):
    def make(**changes):
        policy, reference = (llama(initializer_range=0.1).cuda() for _ in range(2))
        value = ValueModel.from_reward_model(llama_reward(initializer_range=0.1).cuda())
        given = dict(value=value, reference=reference, settings=settings(checkpoint_every=1),
                     checkpoint_dir=tmp_path / "a")
        return trainer(policy, **{**given, **changes})

    start = [parameter.detach().clone() for parameter in llama(initializer_range=0.1).cuda().parameters()]
    whole, _, resumed, result = uninterrupted_and_resumed(make, tmp_path)
    assert result.steps_done == 4
    apart, moved = (
        sum((a - b).square().sum() for a, b in zip(left, whole.policy.parameters(), strict=True)).sqrt()
        for left in (list(resumed.policy.parameters()), start)
    )
    assert apart <= GPU_RESUME_TOLERANCE * moved


def test_finished_run_is_not_run_again(tmp_path):
    given = dict(settings=settings(checkpoint_every=2), checkpoint_dir=tmp_path)
    first = trainer(**given).run()
    steps = []
    again = trainer(**given, observer=hearing(on_step=lambda *x: steps.append(x))).run()
    assert again == first and not steps


def test_a_torn_checkpoint_is_not_seen(tmp_path):
    (tmp_path / ".checkpoint-00000009.part").mkdir()
    assert ppo_checkpoint.read_state(tmp_path) is None


def test_foreign_checkpoints_are_refused(tmp_path):
    trainer(settings=settings(episodes=16, checkpoint_every=1), checkpoint_dir=tmp_path).run()
    with pytest.raises(ValueError, match="step 1 in .* was made with other settings"):
        trainer(settings=settings(episodes=16, checkpoint_every=1, seed=4), checkpoint_dir=tmp_path).run()
    with pytest.raises(ValueError, match="holds other tensors than this model trains"):
        trainer(llama(num_hidden_layers=1), settings=settings(episodes=16, checkpoint_every=1), checkpoint_dir=tmp_path,
                reference=llama()).run()


def test_lora_reference_is_the_policy_without_adapter():
    policy = lora(llama(initializer_range=0.1))
    frozen = {n: p.detach().clone() for n, p in policy.named_parameters() if not p.requires_grad}
    run = trainer(policy, reference=None, settings=settings(learning_rate=0.02)).run()
    assert abs(run.history[0]["kl"]) < 1e-4 and run.history[-1]["kl"] != 0
    trained = dict(policy.named_parameters())
    assert all(torch.equal(trained[n], p) for n, p in frozen.items())
    assert any(p.requires_grad and p.abs().sum() > 0 for n, p in trained.items() if "lora_B" in n)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_every_parameter_is_optimised_clipped_and_saved_once(tmp_path, adapter, shared):
    policy = lora(llama()) if adapter else llama()
    value = SharedValue(policy) if shared else ValueModel.with_zero_head(policy)
    groups = [{id(p) for p in group["params"]} for group in make_optimizer(policy, value, SETTINGS).param_groups]
    assert groups == [{id(p) for p in trainable(policy)}, {id(p) for p in trainable(value)}]
    assert not groups[0] & groups[1]
    run = trainer(policy, value=value, reference=None if adapter else llama(), checkpoint_dir=tmp_path,
                  settings=settings(episodes=16, checkpoint_every=1))
    run.run()
    saved = [tensor for path in tmp_path.glob("*/[pv]*.safetensors") for tensor in load_file(path).values()]
    assert sum(tensor.numel() for tensor in saved) == sum(p.numel() for p in trainable(policy) + trainable(value))


def test_micro_batches_do_not_change_the_update():
    """Losses are averaged over the tokens of the whole minibatch, also across micro-batches."""
    whole, parts = (trainer(settings=settings(episodes=16, rows_per_backward=rows, max_grad_norm=0.01))
                    for rows in (None, 3))
    a, b = whole.run().history[0], parts.run().history[0]
    for name in a:
        assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-5), name


def test_sampling_logprobs_are_reused_only_where_they_agree():
    reusing = trainer(settings=settings(episodes=16))
    reusing.run()
    assert reusing.reuse_logprobs is True
    never = trainer(settings=settings(episodes=16, reuse_sampling_logprobs=False))
    never.run()
    assert never.reuse_logprobs is False


@pytest.mark.parametrize("difference, reused", [(0.1, False), (1e-3, False), (2e-4, False), (5e-5, True)])
def test_disagreeing_sampling_logprobs_are_recomputed(monkeypatch, difference, reused):
    """A nat's ten-thousandth is rounding; twice that is another model's opinion, and would move the first ratio."""
    import models.ppo.trainer as ppo

    def wrong(*args, **kwargs):
        return [dataclasses.replace(s, logprobs=tuple(x - difference for x in s.logprobs))
                for s in original(*args, **kwargs)]

    original = ppo.sample
    monkeypatch.setattr(ppo, "sample", wrong)
    run = trainer(settings=settings(episodes=32))
    history = run.run().history
    assert run.reuse_logprobs is reused and abs(history[1]["first_ratio"] - 1) < 1e-4


def test_rewards_are_normalised_once_and_weighted():
    seen = {}
    signals = [RewardSignal("sevens", share_of_sevens, 2.0),
               RewardSignal("length", lambda p, r: torch.tensor([100.0 * len(x) for x in r]), -1.0)]
    run = trainer(rewards=signals, settings=settings(missing_eos_penalty=None),
                  observer=hearing(on_rollout=seen.setdefault))
    run.run()
    mean, deviation = run.scales["length"]
    assert 100 <= mean <= 1000 and deviation > 1
    rollout = seen[0]
    expected = 2 * (rollout.signals["sevens"] - run.scales["sevens"][0]) / run.scales["sevens"][1] - (
        rollout.signals["length"] - mean) / deviation
    torch.testing.assert_close(rollout.scores, expected)


def test_critic_from_the_reward_model_starts_in_normalised_units():
    reward = llama_reward()
    value = ValueModel.from_reward_model(reward)
    seen = []
    run = trainer(value=value, rewards=[RewardSignal("model", model_scorer(reward, 16))],
                  observer=hearing(on_rollout=lambda step, rollout: seen.append(rollout)))
    run.run()
    mean, deviation = run.scales["model"]
    rollout = seen[0]
    # The state before the last token, scored by the reward model as it was.
    cut = model_scorer(reward, 16)(rollout.prompt_ids, [r[:-1] for r in rollout.response_ids])
    last = rollout.values.gather(1, rollout.response_mask.sum(1, keepdim=True) - 1).squeeze(1)
    torch.testing.assert_close(last, (cut - mean) / deviation, rtol=1e-3, atol=1e-4)


def test_learning_rate_decays_linearly():
    rates = [step["learning_rate"] for step in trainer().run().history]
    assert rates == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])


def test_every_prompt_is_used_once_per_pass():
    seen = []
    note = hearing(on_rollout=lambda step, rollout: seen.extend(rollout.prompt_ids))
    trainer(prompts=prompts(8), observer=note).run()
    for start in range(0, 64, 8):
        assert sorted(seen[start : start + 8]) == sorted(tuple(ids) for _, ids in prompts(8))
    orders = {tuple(seen[start : start + 8]) for start in range(0, 64, 8)}
    assert len(orders) == 8  # 8! orders to choose from


def test_a_prompt_gets_other_random_numbers_in_every_pass():
    """The policy stays as it is, so that only the random numbers can make two answers to one prompt differ."""
    answers = {}

    def note(step, rollout):
        for prompt, response in zip(rollout.prompt_ids, rollout.response_ids, strict=True):
            answers.setdefault(prompt, []).append(response)

    trainer(prompts=prompts(8), settings=settings(learning_rate=1e-12), observer=hearing(on_rollout=note)).run()
    assert [len(given) for given in answers.values()] == [8] * 8
    assert all(len(set(given)) == 8 for given in answers.values())


def test_a_run_killed_while_a_snapshot_is_kept_makes_it_again(tmp_path):
    def die(step, policy):
        raise Killed

    given = dict(settings=settings(snapshot_every=2, checkpoint_every=1), checkpoint_dir=tmp_path)
    with pytest.raises(Killed):
        trainer(**given, observer=hearing(on_snapshot=die)).run()
    kept = []
    trainer(**given, observer=hearing(on_snapshot=lambda step, policy: kept.append(step))).run()
    assert kept == [2, 4]


def test_snapshots():
    kept = []
    note = hearing(on_snapshot=lambda step, policy: kept.append(step))
    trainer(settings=settings(snapshot_every=2), observer=note).run()
    assert kept == [2, 4]


@pytest.mark.parametrize(
    "limits, reason",
    [
        (dict(kl_budget=0.02, learning_rate=0.02), "kl: .* nats per response exceeds the budget of 0.02"),
        (dict(entropy_floor=9.0), "entropy: .* nats per token is below the floor of 9"),
        (dict(eos_rate_floor=1.1), "eos_rate: .* of responses is below the floor of 1.1"),
        (dict(distinct_floor=1.1), "distinct_bigrams: .* of bigrams is below the floor of 1.1"),
    ],
)
def test_guards_stop_early_and_say_why(limits, reason):
    import re

    result = trainer(settings=settings(episodes=16 * 8, guard_patience=1, **limits)).run()
    assert result.steps_done < result.steps_asked == 8
    assert len(result.history) == result.steps_done and re.match(reason, result.stop_reason)


def test_guards_wait_for_their_patience():
    low, high = {"entropy": 0.5}, {"entropy": 2.0}
    guard = settings(entropy_floor=1.0, guard_patience=2)
    assert tripped([low], guard) is None
    assert tripped([low, high, low], guard) is None
    assert tripped([high, low, low], guard) == "entropy: 0.5 nats per token is below the floor of 1"


def test_two_guards_in_turn_are_not_one_in_a_row():
    guard = settings(entropy_floor=1.0, eos_rate_floor=0.5, guard_patience=2)
    assert tripped([{"entropy": 0.5, "eos_rate": 1.0}, {"entropy": 2.0, "eos_rate": 0.1}], guard) is None


def test_a_kl_clearly_above_its_budget_is_not_waited_for():
    """Budget 12: 13 +- 1 may be chance and is waited for, 13 +- 0.4 is two standard errors above and is not."""
    guard = settings(kl_budget=12.0, guard_patience=2)
    unclear, clear = {"kl": 13.0, "kl_standard_error": 1.0}, {"kl": 13.0, "kl_standard_error": 0.4}
    assert tripped([unclear], guard) is None
    assert tripped([clear], guard) == "kl: 13 nats per response exceeds the budget of 12"
    assert tripped([unclear, unclear], guard) is not None


def test_the_policy_that_crosses_a_limit_is_handed_over_once():
    """Entropy falls below its floor in the first rollout and stays there: one crossing, before any update."""
    crossed = []
    given = settings(entropy_floor=9.0, guard_patience=3)
    result = trainer(settings=given, observer=hearing(on_breach=lambda done, policy: crossed.append(done))).run()
    assert crossed == [0] and result.steps_done == 2


def test_a_number_that_is_not_finite_stops_and_keeps_the_weights():
    def broken(prompt_ids, response_ids):
        calls.append(1)
        return share_of_sevens(prompt_ids, response_ids) * (math.nan if len(calls) > 2 else 1)

    calls = []
    run = trainer(rewards=[RewardSignal("broken", broken)])
    result = run.run()
    assert result.steps_done == 1 and "reward broken=nan is not finite" in result.stop_reason
    assert all(p.isfinite().all() for p in run.policy.parameters())


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(minibatch_size=6), "batch_size=16 is not divisible by minibatch_size=6; set batch_size to 12 or 18"),
        (dict(episodes=70), "episodes=70 is not divisible by batch_size=16; set episodes to 64 or 80"),
        (dict(episodes=8), "episodes=8 is not divisible by batch_size=16; set episodes to 16"),
        (dict(epochs=0), "epochs=0 must be at least 1"),
        (dict(learning_rate=0.0), "learning_rate=0.0 must be above 0"),
        (dict(rows_per_backward=0), "rows_per_backward=0 must be at least 1"),
        (dict(lam=1.5), "lam=1.5 must be between 0 and 1"),
        (dict(kl_coefficient=-1.0), "kl_coefficient=-1.0 must not be negative"),
        (dict(kl_target=0.0), "kl_target=0.0 must be above 0"),
        (dict(missing_eos_mode="drop"), "missing_eos_mode='drop' must be 'subtract' or 'replace'"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(prompts=[]), "no prompts"),
        (dict(prompts=[("a", [5]), ("a", [6])]), "prompt id 'a' occurs more than once"),
        (dict(rewards=[]), "no reward signal"),
        (dict(rewards=[SEVENS, SEVENS]), "must have distinct names"),
        (dict(reference=None), "no adapter to switch off"),
    ],
)
def test_parts_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        trainer(**changes)


def test_a_prompt_longer_than_the_context_is_named():
    with pytest.raises(ValueError, match="'long' has 125 tokens.*context of 128"):
        trainer(prompts=[("long", [5] * 125)])


@pytest.mark.parametrize("shared, adapter", [(False, False), (False, True), (True, True)])
def test_threads_change_speed_not_what_is_learned(shared, adapter):
    """With two threads policy and critic learn side by side; with one, in turn. Same losses within rounding."""
    losses = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            policy = lora(llama(initializer_range=0.1)) if adapter else llama(initializer_range=0.1)
            value = SharedValue(policy) if shared else ValueModel.with_zero_head(policy)
            reference = None if adapter else llama(initializer_range=0.1)
            run = trainer(policy, value=value, reference=reference, settings=settings(episodes=32)).run()
        finally:
            torch.set_num_threads(before)
        losses.append([[step["policy_loss"], step["value_loss"], step["kl"]] for step in run.history])
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-4, atol=1e-6)
