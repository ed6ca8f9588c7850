"""The PPO stage on a two-layer model: what it writes, its rewards, its guards, and what it refuses."""

import json
import math
import multiprocessing
import os
import shutil
import signal
from dataclasses import asdict

import pytest
import torch
import yaml

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.ppo.settings import PpoSettings
from models.ppo.trainer import PpoResult
from models.reward.model import load_reward_model, reward_model_from_policy
from tasks import ppo as ppo_stage
from tasks.common.errors import ConfigError, DataError, DivergedError, kind_of, one_line
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.runner.params import stage_config
from tests.import_closure import ROOT
from tests.support.tiny_models import make_gpt2, make_qwen2

SMALL = {"episodes": 32, "batch_size": 8, "minibatch_size": 4, "max_new_tokens": 8, "checkpoint_every": 1,
         "learning_rate": 0.01, "examples": 2}
NO_GUARDS = {"kl_budget": None, "entropy_floor": None, "eos_rate_floor": None, "distinct_floor": None}
LORA = {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": "all-linear"}


def params(guards=None, **changes):
    every = yaml.safe_load((ROOT / "params.yaml").read_text())
    every["ppo"] |= SMALL | changes | {"guards": NO_GUARDS | (guards or {})}
    return every


def config(**changes):
    return stage_config(params(**changes), "ppo")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """base, reward model and prompts."""
    folder = tmp_path_factory.mktemp("inputs")
    base = make_gpt2(folder / "base")
    reward_model_from_policy(load_policy(base)).save_pretrained(folder / "reward")
    load_tokenizer(base).save_pretrained(folder / "reward")
    rows = [{"id": f"p{i}", "root": f"r{i}", "category": "reasoning",
             "prompt": [{"role": "user", "content": f"What is {i}?"}]} for i in range(10)]
    write_jsonl(folder / "rl_prompts.jsonl", rows)
    return {"model": base, "sft": base, "reward": folder / "reward", "rl_prompts": folder / "rl_prompts.jsonl"}


def run(cfg, inputs, folder, checkpoints="checkpoints"):
    (folder / "out").mkdir(parents=True)
    (folder / checkpoints).mkdir(exist_ok=True)
    return ppo_stage.ppo(cfg, **inputs, out=folder / "out", checkpoints=folder / checkpoints)


def test_what_is_written(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMB_LIVE", str(tmp_path))
    numbers = run(config(), inputs, tmp_path)
    out = tmp_path / "out"
    assert (numbers["steps_asked"], numbers["steps_done"], numbers["stopped_by_guard"]) == (4, 4, 0.0)
    assert json.loads((out / "stopped.json").read_text()) == {"reason": None, "steps_asked": 4, "steps_done": 4}
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["step-2"]
    logged = {"entropy", "kl", "kl_coefficient", "clip_fraction", "ratio", "returns", "explained_variance", "eos_rate",
              "response_tokens", "reward_reward_model", "score", "policy_loss", "value_loss", "approx_kl"}
    curves = read_jsonl(out / "curves.jsonl")
    assert [row["step"] for row in curves] == [1, 2, 3, 4] and all(logged <= row.keys() for row in curves)
    live = [line for line in read_jsonl(tmp_path / "live.jsonl") if line["unit"] == "rollout"]
    assert [line["done"] for line in live] == [1, 2, 3, 4] and all(logged <= line["metrics"].keys() for line in live)


def test_samples_before_during_and_after(inputs, tmp_path):
    """Five points of four steps are every step; the first is the reference's own, at no distance from itself."""
    run(config(), inputs, tmp_path)
    rows = read_jsonl(tmp_path / "out" / "samples.jsonl")
    assert [(row["step"], row["prompt_id"]) for row in rows] == [(s, p) for s in range(5) for p in ("p0", "p5")]
    assert rows[0]["prompt"] == "What is 0?" and isinstance(rows[0]["response"], str) and rows[0]["tokens"] <= 8
    assert [row["kl"] for row in rows[:2]] == pytest.approx([0, 0], abs=1e-4)
    assert any(abs(row["kl"]) > 1e-3 for row in rows[-2:])


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_shared_critic_with_two_rewards(inputs, tmp_path, lora):
    cfg = config(value_backbone="shared", value_coefficient=0.1, rewards={"reward_model": 1.0, "length": -0.5}, lora=lora)
    run(cfg, inputs, tmp_path)
    last = read_jsonl(tmp_path / "out" / "curves.jsonl")[-1]
    assert last["reward_length"] == pytest.approx(last["response_tokens"]) and "reward_reward_model" in last
    assert read_jsonl(tmp_path / "out" / "samples.jsonl")


def test_a_guard_stops_says_why_and_keeps_what_select_may_choose(inputs, tmp_path):
    """Of two steps one is done: the second rollout in a row has a response without end, and the guard asks for none."""
    numbers = run(config(guards={"eos_rate_floor": 1.0}, episodes=16), inputs, tmp_path)
    out = tmp_path / "out"
    stopped = json.loads((out / "stopped.json").read_text())
    assert (stopped["steps_asked"], stopped["steps_done"]) == (2, 1) == (numbers["steps_asked"], numbers["steps_done"])
    assert stopped["reason"].startswith("eos_rate: ") and stopped["reason"].endswith("floor of 1 (at step 2)")
    assert numbers["stopped_by_guard"] == 1.0
    for kept in (out, out / "checkpoints" / "step-1"):
        load_policy(kept)
    assert [row["step"] for row in read_jsonl(out / "samples.jsonl")] == [0, 0, 1, 1]


def run_and_be_killed(step, cfg, inputs, folder):
    """The stage in this process, which gets a `kill -9` while it tells of its rollout `step`."""
    ppo_stage.progress.report = lambda done, *_, **__: os.kill(os.getpid(), signal.SIGKILL) if done == step else None
    run(cfg, inputs, folder)


def test_a_killed_stage_resumes_to_the_same_bytes(inputs, tmp_path):
    """`kill -9` in the middle of training, in a process of its own."""
    cfg = config(episodes=96)
    (tmp_path / "a").mkdir()
    run(cfg, inputs, tmp_path / "a")
    arguments = (5, cfg, inputs, tmp_path / "b")
    stage = multiprocessing.get_context("spawn").Process(target=run_and_be_killed, args=arguments)
    stage.start()
    stage.join()
    assert stage.exitcode == -signal.SIGKILL
    assert list((tmp_path / "b" / "checkpoints").glob("checkpoint-*[45]")), "it has something to go on from"
    shutil.rmtree(tmp_path / "b" / "out")  # what was begun is made anew, as DVC does
    run(cfg, inputs, tmp_path / "b")
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a" / "out").rglob("*") if p.is_file()]
    assert len(files) > 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_another_tokenizer_is_refused(inputs, tmp_path):
    qwen = make_qwen2(tmp_path / "qwen")
    reward_model_from_policy(load_policy(qwen)).save_pretrained(tmp_path / "reward")
    load_tokenizer(qwen).save_pretrained(tmp_path / "reward")
    with pytest.raises(DataError, match=r"reward model's tokenizer has 3\d\d tokens and the policy's 3\d\d, .* again"):
        run(config(), {**inputs, "reward": tmp_path / "reward"}, tmp_path)


def spoiled(model, folder, tokenizer_of, head):
    """The model with one weight of its head that is no number, written to `folder`."""
    with torch.no_grad():
        head(model).weight[0, 0] = math.nan
    model.save_pretrained(folder)
    load_tokenizer(tokenizer_of).save_pretrained(folder)
    return folder


def test_a_reward_model_of_no_numbers_is_divergence_and_no_checkpoint_is_promised(inputs, tmp_path):
    reward = spoiled(load_reward_model(inputs["reward"]), tmp_path / "reward", inputs["model"], lambda m: m.score)
    with pytest.raises(FloatingPointError, match="the reward model's scores are not finite") as caught:
        run(config(), {**inputs, "reward": reward}, tmp_path)
    assert kind_of(caught.value) == "diverged"
    words = ("after step 0 of 4: not finite: .*scores are not finite.*before step 1.*; no checkpoint was written "
             "before; lower ppo.learning_rate, or look at")
    with pytest.raises(DivergedError, match=words):
        run(config(examples=0), {**inputs, "reward": reward}, tmp_path / "again")


def test_an_sft_policy_of_no_numbers_is_divergence(inputs, tmp_path):
    sft = spoiled(load_policy(inputs["model"]), tmp_path / "sft", inputs["model"], lambda m: m.lm_head)
    with pytest.raises(FloatingPointError, match="logits are not finite; its weights diverged") as caught:
        run(config(), {**inputs, "sft": sft}, tmp_path)
    assert kind_of(caught.value) == "diverged" and one_line(caught.value).startswith("prompt 'p0': the model's")


def test_a_learning_rate_that_breaks_the_first_step_says_that_nothing_was_kept(inputs, tmp_path):
    with pytest.raises(DivergedError, match="stopped after step 0 of 4: .*; no checkpoint was written before; lower"):
        run(config(learning_rate=1e6), inputs, tmp_path)


@pytest.mark.parametrize("done, reason, last, words", [
    (3, "not finite: loss=nan is not finite (at step 4)", {"step": 2},
     "step 3 of 8: .*; the last good checkpoint is that of step 2;"),
    (3, None, {"step": 2}, "PPO did 3 of 8 steps and no guard says why"),
])
def test_fewer_steps_without_a_guard_are_no_success(done, reason, last, words):
    with pytest.raises(DivergedError, match=words):
        ppo_stage.check_result(PpoResult(8, done, reason, []), last)


def test_a_guard_or_all_steps_are_a_result():
    ppo_stage.check_result(PpoResult(8, 3, "kl: 13 nats per response exceeds the budget of 12 (at step 4)", []), None)
    ppo_stage.check_result(PpoResult(8, 8, None, []), None)


def test_lora_targets_that_are_no_layers_are_named(inputs, tmp_path):
    with pytest.raises(ConfigError, match="ppo.lora.targets: 'nope' names no layer of GPT2LMHeadModel"):
        run(config(lora={**LORA, "targets": ["nope"]}), inputs, tmp_path)


def test_every_setting_reaches_the_engine():
    """What stands in params is what the engine is told, limits of memory and the guards' patience among it."""
    told = {"rows_per_batch": 3, "rows_per_backward": 2, "value_learning_rate": 0.5, "missing_eos_penalty": None,
            "missing_eos_mode": "replace", "normalise_samples": 9, "guard_patience": 4}
    settings = asdict(ppo_stage.ppo_settings(config(**told)))
    assert {name: settings[name] for name in told} == told


def test_the_shipped_params_are_the_engines_defaults_where_both_name_one():
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())["ppo"]
    same = ("rows_per_batch", "rows_per_backward", "value_learning_rate", "missing_eos_mode", "normalise_samples",
            "guard_patience")
    engine = asdict(PpoSettings(episodes=1, batch_size=1, minibatch_size=1, max_new_tokens=1, learning_rate=1.0))
    assert {name: shipped[name] for name in same} == {name: engine[name] for name in same}


def test_small_memory_settings_change_speed_alone(inputs, tmp_path):
    """One row at a time, forward and backward: the same numbers within rounding."""
    curves = {}
    for name, rows in (("whole", {}), ("rows", {"rows_per_batch": 1, "rows_per_backward": 1})):
        (tmp_path / name).mkdir()
        run(config(episodes=16, **rows), inputs, tmp_path / name)
        curves[name] = read_jsonl(tmp_path / name / "out" / "curves.jsonl")
    for whole, rows in zip(curves["whole"], curves["rows"], strict=True):
        assert rows == {key: pytest.approx(value, rel=1e-2, abs=1e-3) for key, value in whole.items()}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"rewards": {"reward_model": 1.0, "lenght": 0.1}}, "ppo.rewards: 'lenght' is no reward signal; known are "
         "'reward_model', 'length'; .* in the group plumbline.rewards"),
        ({"rewards": {"reward_model": 0.0, "length": 1.0}}, "ppo.rewards: the weight of reward_model must be above 0"),
        ({"rewards": {"length": 1.0}}, "ppo.rewards: the weight of reward_model must be above 0"),
        ({"value_backbone": "none"}, "ppo.value_backbone: input should be 'own' or 'shared', found 'none'"),
    ],
)
def test_bad_settings_are_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        config(**changes)
