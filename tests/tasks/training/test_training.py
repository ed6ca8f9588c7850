"""SFT, reward model and DPO on a two-layer model: the loss they minimise, resume, and what stops them."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.reward.model import load_reward_model
from tasks import dpo as dpo_stage, reward as reward_stage, sft as sft_stage
from tasks.common.errors import ConfigError, DataError, DivergedError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.training import trainers as training
from tests.support.small_project import bytes_below
from tests.support.tiny_architectures import build
from tests.support.tiny_models import make_gpt2
from tests.support.training_stages import (
    base,  # noqa: F401
    config,
)


@pytest.fixture()
def demonstrations(tmp_path):
    rows = [{"id": f"d{i}", "root": f"r{i}", "category": "reasoning",
             "messages": [{"role": "user", "content": f"What is {i} plus 1?"}, {"role": "assistant", "content": f"{i + 1}."}]}
            for i in range(24)]
    write_jsonl(tmp_path / "demonstrations.jsonl", rows)
    return tmp_path / "demonstrations.jsonl"


@pytest.fixture()
def compare(tmp_path):
    rows = [{"id": f"c{i}", "root": f"r{i}", "category": "reasoning", "score_gap": 1.0, "agrees": True,
             "prompt": [{"role": "user", "content": f"What is {i}?"}],
             "chosen": [{"role": "assistant", "content": f"It is {i}."}],
             "rejected": [{"role": "assistant", "content": "no no"}]} for i in range(24)]
    write_jsonl(tmp_path / "compare" / "train.jsonl", rows[:16])
    write_jsonl(tmp_path / "compare" / "heldout.jsonl", rows[16:])
    return tmp_path / "compare"


def run_sft(base, demonstrations, tmp_path, name="sft", checkpoints="checkpoints", **changes):
    out, folder = tmp_path / name, tmp_path / checkpoints
    folder.mkdir(exist_ok=True)
    metrics = sft_stage.sft(config("sft", **changes), base, demonstrations, out, folder)
    return out, metrics


def test_the_loss_counts_the_response_alone(base, demonstrations):
    tokenizer = load_tokenizer(base)
    row = sft_stage.tokenise(read_jsonl(demonstrations)[:1], tokenizer)[0]
    counted = [i for i, label in zip(row["input_ids"], row["labels"]) if label != sft_stage.IGNORED]
    assert tokenizer.decode(counted) == "1.<|endoftext|>"
    assert len(row["labels"]) == len(row["input_ids"])


def test_the_mixture_weighs_categories():
    rows = [{"id": i, "category": c} for i, c in enumerate(["safety"] * 100 + ["creative"] * 100)]
    mixed = sft_stage.mixture(rows, {"safety": 2.0, "creative": 0.5}, seed=0)
    counts = {c: sum(row["category"] == c for row in mixed) for c in ("safety", "creative")}
    assert counts["safety"] == 200 and 30 < counts["creative"] < 70
    with pytest.raises(DataError, match="'safety' of row 0 has no weight; add it to sft.category_weights"):
        sft_stage.mixture(rows, {"creative": 1.0}, seed=0)


def test_sft_lowers_the_loss_and_reproduces_its_bytes(base, demonstrations, tmp_path):
    first, metrics = run_sft(base, demonstrations, tmp_path, "a", "ca", epochs=3.0)
    second, _ = run_sft(base, demonstrations, tmp_path, "b", "cb", epochs=3.0)
    assert metrics["loss_last"] < metrics["loss_first"]
    assert bytes_below(first) == bytes_below(second)


class Killed(Exception):
    pass


def test_a_resumed_run_equals_an_undisturbed_one(base, demonstrations, tmp_path, monkeypatch):
    undisturbed, _ = run_sft(base, demonstrations, tmp_path, "whole", "cw")
    original = training.Report.on_step_end

    def die(self, args, state, control, **kwargs):
        original(self, args, state, control, **kwargs)
        if state.global_step == 5:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(training.Report, "on_step_end", die)
        run_sft(base, demonstrations, tmp_path, "resumed")
    assert training.last_complete_checkpoint(tmp_path / "checkpoints").name == "checkpoint-4"
    half_written = tmp_path / "checkpoints" / "checkpoint-5"
    half_written.mkdir()
    resumed, _ = run_sft(base, demonstrations, tmp_path, "resumed")
    assert bytes_below(resumed) == bytes_below(undisturbed)
    assert not half_written.exists()


def test_a_non_finite_loss_stops_at_its_step_and_keeps_a_good_checkpoint(base, demonstrations, tmp_path):
    with pytest.raises(DivergedError, match=r"at step \d+ of 18; .*lower sft.learning_rate") as error:
        run_sft(base, demonstrations, tmp_path, learning_rate=1e18, epochs=3.0, checkpoint_every=1)
    last = training.last_complete_checkpoint(tmp_path / "checkpoints")
    assert last.name in str(error.value)
    assert all(torch.isfinite(t).all() for t in load_file(last / "model.safetensors").values())
    assert not (tmp_path / "sft").exists()


def test_long_rows_and_empty_mixtures_are_named(base, demonstrations, tmp_path):
    with pytest.raises(DataError, match=r"24 of 24 rows are longer than 3 tokens, the first is d0 with \d+; raise sft.max_length"):
        run_sft(base, demonstrations, tmp_path, max_length=3)
    with pytest.raises(DataError, match="no demonstrations are left"):
        run_sft(base, demonstrations, tmp_path, category_weights={"reasoning": 0.0})


def test_the_reward_model_learns_a_plain_preference(base, compare, tmp_path):
    (tmp_path / "c").mkdir()
    metrics = reward_stage.reward(config("reward", epochs=4.0), base, base, compare, tmp_path / "reward", tmp_path / "c")
    assert metrics["accuracy"] == metrics["accuracy_where_judge_agrees"] == 1.0


def test_a_frozen_backbone_stays_as_it_was(base, compare, tmp_path):
    (tmp_path / "c").mkdir()
    cfg = config("reward", freeze_backbone=True)
    reward_stage.reward(cfg, base, base, compare, tmp_path / "reward", tmp_path / "c")
    before = load_policy(base).transformer.state_dict()
    after = load_reward_model(tmp_path / "reward").transformer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_dpo_starts_at_log_two_and_keeps_snapshots(base, compare, tmp_path):
    """With the policy equal to the reference the loss is −log σ(0) = log 2, so our reference log-probs are TRL's."""
    (tmp_path / "c").mkdir()
    metrics = dpo_stage.dpo(config("dpo"), base, base, compare, tmp_path / "dpo", tmp_path / "c")
    assert metrics["loss_first"] == pytest.approx(math.log(2), abs=1e-5)
    assert metrics["loss_last"] < metrics["loss_first"]
    assert [p.name for p in (tmp_path / "dpo" / "checkpoints").iterdir()] == ["step-2"]
    curves = read_jsonl(tmp_path / "dpo" / "curves.jsonl")
    assert [line["step"] for line in curves] == [1, 2, 4]
    assert not any("runtime" in key or "per_second" in key for line in curves for key in line)


def test_no_comparisons_is_named(base, tmp_path):
    write_jsonl(tmp_path / "compare" / "train.jsonl", [])
    write_jsonl(tmp_path / "compare" / "heldout.jsonl", [])
    (tmp_path / "c").mkdir()
    for stage, name in ((dpo_stage.dpo, "dpo"), (reward_stage.reward, "reward")):
        with pytest.raises(DataError, match=f"{name} has no comparisons"):
            stage(config(name), base, base, tmp_path / "compare", tmp_path / name, tmp_path / "c")


def test_artifacts_hold_no_pickle(base, demonstrations, tmp_path):
    out, _ = run_sft(base, demonstrations, tmp_path)
    assert not list(out.rglob("*.bin")) and not list(out.rglob("*.pt"))
    assert json.loads((out / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]


NOWHERE = {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": ["nope"]}


def test_lora_targets_that_are_no_layers_are_named_by_every_stage(base, demonstrations, compare, tmp_path):
    (tmp_path / "c").mkdir()
    with pytest.raises(ConfigError, match="sft.lora.targets: 'nope' names no layer of GPT2LMHeadModel"):
        run_sft(base, demonstrations, tmp_path, lora=NOWHERE)
    for stage, name in ((dpo_stage.dpo, "dpo"), (reward_stage.reward, "reward")):
        with pytest.raises(ConfigError, match=f"{name}.lora.targets: 'nope' names no layer"):
            stage(config(name, lora=NOWHERE), base, base, compare, tmp_path / name, tmp_path / "c")


# What noise is called in configs of the field, beside GPT-2's own 0.1.
NOISE = {
    "Starcoder2ForCausalLM": {"residual_dropout": 0.5, "embedding_dropout": 0.5, "attention_dropout": 0.5},
    "GPTNeoForCausalLM": {"resid_dropout": 0.5, "embed_dropout": 0.5},
    "OPTForCausalLM": {"layerdrop": 0.5, "dropout": 0.5},
    "MixtralForCausalLM": {"router_jitter_noise": 0.5},
    "PhimoeForCausalLM": {"router_jitter_noise": 0.5, "input_jitter_noise": 0.5},
    "GPT2LMHeadModel": {},
}


@pytest.mark.parametrize("name", NOISE)
def test_a_models_noise_is_off_while_it_is_trained(name, compare, tmp_path):
    """Before its first step the policy is its reference: DPO's rewards, log-ratios of the two, are 0 without noise."""
    base = make_gpt2(tmp_path / "base")
    build(name, **NOISE[name]).save_pretrained(base)
    (tmp_path / "checkpoints").mkdir()
    out, checkpoints = tmp_path / "dpo", tmp_path / "checkpoints"
    dpo_stage.dpo(config("dpo", batch_size=16), base, base, compare, out, checkpoints)
    first = read_jsonl(out / "curves.jsonl")[0]
    for name in ("chosen", "rejected", "margins"):
        assert first[f"rewards/{name}"] == pytest.approx(0, abs=1e-5)


def test_the_dropout_of_an_adapter_is_on(base, demonstrations, tmp_path):
    lora = {"rank": 4, "alpha": 64.0, "targets": "all-linear"}
    losses = [run_sft(base, demonstrations, tmp_path, f"out-{dropout}", f"checkpoints-{dropout}", learning_rate=1e-2,
                      lora=lora | {"dropout": dropout})[1]["loss_last"] for dropout in (0.0, 0.9)]
    assert abs(losses[0] - losses[1]) > 1e-3
