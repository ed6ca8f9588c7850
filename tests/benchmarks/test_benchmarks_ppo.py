"""The PPO benchmark's pure functions by hand, its gate and our side on a two-layer model; TRL 1.12.0 is not needed."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from benchmarks.child import Peer
from benchmarks.ppo import __main__ as command, gates, losses, ours, race, tasks, utilisation, world
from benchmarks.ppo.floors import Machine, Shape, Share, Work, rollout_work, shares
from benchmarks.ppo.gates import CurveGate, LossGate
from benchmarks.ppo.report import Findings
from benchmarks.ppo.workload import TIMED_LEARNING_RATE, workload
from benchmarks.report import spread
from models.chat.template import load_tokenizer
from tasks.runner.params import read_params
from tests.import_closure import ROOT
from tests.support.rl_models import hearing
from tests.support.tiny_models import make_qwen2

# One layer, one head of size 1: 10 linear weights, a vocabulary of 3 over a hidden size of 2.
SHAPE = Shape(linear=10, parameters=16, layers=1, hidden=2, vocabulary=3, attention_width=1, cache_width=1)
MACHINE = Machine(flops=100.0, bandwidth=50.0)
PPO = read_params(ROOT / "params.yaml")["ppo"]


@pytest.fixture()
def work(tmp_path):
    base, prompts = make_qwen2(tmp_path / "base"), tmp_path / "prompts.jsonl"
    rows = [{"id": f"p{i}", "split": "rl", "prompt": [{"role": "user", "content": f"What is {i}?"}]} for i in range(40)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return workload("hearth", base, prompts, PPO, steps=2, batch_size=8, minibatch_size=4, max_new_tokens=6, threads=1)


def test_the_work_of_a_rollout_by_hand():
    """A prompt of 2 and a response of 2: three tokens are run in sampling, four in scoring and in the update.

    Backbone: 2·10 per token, and 4·1·1 per pair, of which 3 tokens have 6 and 4 tokens have 10: 84 and 120.
    Head: 2·2·3 = 12 per response token, 24. Bytes are fours: two passes over 16 weights, and a cache of 2 numbers a
    token, of which the one decoding pass reads 2 + 1 tokens.
    """
    work = rollout_work(SHAPE, [(2, 2)], epochs=2, optimizer_steps=3)
    assert work["sample"] == Work(84 + 24, 4 * (2 * 16 + 3 * 2))
    assert work["score"] == Work(3 * 120 + 24, 4 * 3 * 16)
    assert work["update"] == Work(3 * 2 * (2 * 120 + 24), 4 * 3 * 2 * 16 * 7)


def test_the_floor_is_the_slower_of_computing_and_moving():
    assert Work(200, 50).floor(MACHINE) == 2.0 and Work(200, 50).limited_by(MACHINE) == "compute"
    assert Work(100, 200).floor(MACHINE) == 4.0 and Work(100, 200).limited_by(MACHINE) == "memory"
    assert Share("sample", 8.0, Work(200, 50), MACHINE).of_limit == 0.25


def test_shares_add_rollouts_up():
    seconds = {"sample": 10.0, "score": 10.0, "update": 10.0}
    one, two = (shares(seconds, [[(2, 2)]] * n, SHAPE, MACHINE, 2, 3) for n in (1, 2))
    assert [b.floor for b in two] == pytest.approx([2 * a.floor for a in one])


def test_training_flops_by_hand():
    """Two rows of 4 tokens: 3 · 2 · (120 + 4·12)."""
    assert utilisation.training_flops(SHAPE, 4, 2) == 3 * 2 * (120 + 48)


def test_trl_formulas_by_hand():
    """Ratio 2 with advantage 1 is clipped to 1.2, ratio 1 with −1 is not: −(1.2 − 1)/2. What is masked is garbage."""
    mask = torch.tensor([[True, True, False]])
    old, new = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 9.0]]).log()
    loss = gates.trl_policy_loss(new, old, torch.tensor([[1.0, -1.0, 0.0]]), mask, 0.2)
    assert float(loss) == pytest.approx(-0.1)
    # Values 1 and 0 from 0 with returns 0 and 1: 1 unclipped beats 0.04 clipped; then 1 on both. ½ · (1 + 1)/2.
    value = gates.trl_value_loss(torch.tensor([[1.0, 0.0, 5.0]]), old, torch.tensor([[0.0, 1.0, 0.0]]), mask, 0.2)
    assert float(value) == pytest.approx(0.5)
    advantages = gates.trl_advantages(torch.tensor([[0.0, 0.0, 1.0]]), torch.zeros(1, 3), 1.0, 1.0)
    assert advantages.tolist() == [[1.0, 1.0, 1.0]]


def test_our_losses_are_the_formulas_on_our_own_rollout(work):
    rollout = losses.own_rollout(work)
    gate = LossGate(losses.formulas(rollout, work))
    assert gate.passed and len(gate.pairs) == 4


def test_the_loss_gate_notices():
    assert LossGate({"a": (1.0, 1.0 + 9e-6)}).passed
    assert not LossGate({"a": (1.0, 1.0 + 2e-5)}).passed
    assert not LossGate({"a": (float("nan"), 1.0)}).passed


def test_a_replayed_rollout_is_a_whole_run_without_clipping(work):
    same = losses.identical_run(work)
    assert same.optimizer_steps_per_rollout == 3 and same.missing_eos_penalty is None and not same.stops
    samples = losses._samples(torch.tensor([[0, 5, 6]]), torch.tensor([[7, 8]]), torch.zeros(1, 2, 10), pad=0)
    assert samples[0].prompt_ids == (5, 6) and samples[0].response_ids == (7, 8)
    assert samples[0].logprobs == pytest.approx([-torch.tensor(10.0).log().item()] * 2)


def test_curves_overlap_within_the_spread_of_seeds():
    """Ends are 1, 2, 3 and 2, 3, 4: they differ by 1, and either side's deviation is 1."""
    low, high = [[9.0, 1.0], [9.0, 2.0], [9.0, 3.0]], [[9.0, 2.0], [9.0, 3.0], [9.0, 4.0]]
    gate = CurveGate(low, high)
    assert gate.difference == -1 and gate.spread == 1 and gate.passed
    assert gate.means() == [(9.0, 9.0), (2.0, 3.0)]
    far = [[x + 10 for x in curve] for curve in high]
    assert not CurveGate(low, far).passed


def test_our_side_notes_what_it_did(work):
    run = ours.train(work)
    assert run["optimizer_steps"] == work.steps * work.optimizer_steps_per_rollout == 8
    assert [len(rollout) for rollout in run["lengths"]] == [8] and len(run["scores"]) == 2
    assert 0 < sum(run["phases"].values()) <= run["seconds"] * 1.01 and run["peak_mib"] >= run["baseline_mib"] > 0
    assert Shape(**run["shape"]).vocabulary > 0
    assert ours.sampler(replace(work, steps=1))["tokens"] >= 8


def test_both_sides_see_the_prompts_in_one_order(work):
    tokenizer = load_tokenizer(Path(work.base))
    seen = []
    note = hearing(on_rollout=lambda step, rollout: seen.extend(map(list, rollout.prompt_ids)))
    ours.trainer(work, tokenizer, note).run()
    assert seen == world.in_order(work, world.prompts(work, tokenizer))
    with pytest.raises(ValueError, match="40 prompts are fewer than episodes=800"):
        world.prompts(replace(work, steps=100), tokenizer)


def test_the_critic_starts_at_zero_and_the_reward_scales(work):
    policy = world.policy(work)
    one, three = (world.reward_model(replace(work, reward_scale=scale), policy).score.weight for scale in (1.0, 3.0))
    assert torch.equal(one * 3, three) and not world.critic(policy).score.weight.any()


def test_the_shape_of_a_model(work):
    policy = world.policy(work)
    shape = world.shape(policy)
    assert shape.parameters == shape.linear + shape.hidden * shape.vocabulary == policy.num_parameters()
    assert (shape.attention_width, shape.cache_width, shape.bytes_per_number) == (32, 16, 4)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_utilisation_of_a_stage(work, stage):
    measured = utilisation.measure(work, stage, tokens=12, rows=2, steps=1)
    assert measured["seconds"] > 0 and measured["flops"] > 0 and measured["peak_mib"] > 0


def test_workloads_share_the_params_settings(work):
    assert work.temperature == PPO["temperature"] and work.learning_rate == TIMED_LEARNING_RATE
    assert workload("30m", "b", "p", PPO).optimizer_steps_per_rollout == PPO["epochs"] * 2
    assert "base" not in work.document() and "prompts" not in work.document()
    with pytest.raises(ValueError, match="size='2b' is unknown; use one of hearth, 30m, 1b"):
        workload("2b", "b", "p", PPO)


def fake_child(task, work, **_):
    """A machine on which TRL takes three times our seconds, and twice our memory."""
    slow = 3.0 if task.startswith("theirs") else 1.0
    if task.endswith("sampler"):
        return {"seconds": slow, "cpu_seconds": slow, "tokens": 5000}
    if task == "losses.compare":
        return {"policy_loss": [0.1, 0.1]}
    if task == "preparation.peaks":
        return {"device_name": "cpu", "flops": 1e9, "bandwidth": 1e9}
    if task == "preparation.prepare":
        return {"loss": 1.0}
    steps = work.steps * work.optimizer_steps_per_rollout
    return {"seconds": slow, "cpu_seconds": slow, "optimizer_steps": steps, "lengths": [[(3, 4), (3, 5)]],
            "scores": [0.0, work.seed + slow / 10], "baseline_mib": 1.0, "peak_mib": 10 * slow, "shape": asdict(SHAPE),
            "phases": {"sample": 0.5, "score": 0.2, "update": 0.3}}  # fmt: skip


def test_a_race(work):
    measured = race.training(work, 2, fake_child)
    assert measured.comparison.kept and measured.comparison.pairs() == (3.0, 3.0)
    assert measured.episodes_per_second("ours") == [8.0, 8.0] and measured.less_memory and measured.lengths_agree
    assert race.sampling(work, 1, fake_child).times("theirs") == (6.0,)


def test_different_work_is_no_race(work):
    def idle(task, given):
        return {**fake_child(task, given), **({"optimizer_steps": 2} if task == "theirs.train" else {})}

    with pytest.raises(AssertionError, match="optimizer steps"):
        race.training(work, 1, idle)


def test_other_lengths_are_noticed(work):
    measured = race.training(work, 1, fake_child)
    measured.theirs[0]["lengths"] = [[(3, 9), (3, 10)]]
    assert not measured.lengths_agree


def test_without_trl_the_way_out_is_named(work, tmp_path):
    with pytest.raises(ValueError, match="make bench-ppo"):
        tasks.run("losses.compare", work, Peer(tmp_path, "1.12.0", "PPOTrainer", "ppo", "bench-ppo"))


def test_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "data", lambda: (tmp_path, tmp_path, tmp_path))
    monkeypatch.setattr(command.tasks, "run", fake_child)
    assert command.main(["--repeats", "1", "--write"]) == 0
    written = json.loads((tmp_path / "results" / "ppo.json").read_text())
    assert [entry["kept"] for entry in written["ppo"]] == [True, True] and written["gates"]["curves"]["passed"]
    assert str(tmp_path) not in json.dumps(written) and "share of the limit" in capsys.readouterr().out


def test_nothing_is_timed_after_a_failed_gate(monkeypatch, tmp_path, capsys):
    def apart(task, work, peer):
        assert not task.endswith("train")
        return {"policy_loss": [0.1, 0.2]} if task == "losses.compare" else fake_child(task, work)

    monkeypatch.setattr(command, "data", lambda: (tmp_path, tmp_path, tmp_path))
    monkeypatch.setattr(command.tasks, "run", apart)
    assert command.main(["--repeats", "1", "--quick"]) == 1
    assert "losses differ" in capsys.readouterr().out


def test_spreads_and_findings():
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    stages = {"sft": {"flops": 50.0, "seconds": 1.0}}
    document = Findings(1, 2, "cpu", "cpu", "1.12.0", MACHINE, stages=stages).document()
    assert document["utilisation"]["sft"]["share_of_peak"] == 0.5 and document["versions"]["trl"] == "1.12.0"
