"""bfloat16: every weight moves as in float32, and what is judged is, bit for bit, what is packaged."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy, save_policy
from models.lm.logprobs import response_logprobs
from models.lm.precision import hold_products_in, products_in, round_weights
from models.reward.model import load_reward_model, reward_model_from_policy
from models.reward.scoring import score
from tasks import dpo as dpo_stage, package as package_stage, ppo as ppo_stage, reward as reward_stage, sft as sft_stage
from tasks.common.rows import read_jsonl, write_jsonl
from tests.support.evaluation_rows import config
from tests.support.tiny_architectures import PROMPTS, RESPONSES, ROWS, alone, build
from tests.support.tiny_models import make_gpt2, make_qwen2

SMALL = {
    "sft": {"epochs": 1.0, "batch_size": 8},
    "reward": {"epochs": 1.0, "batch_size": 8},
    "dpo": {"epochs": 4.0, "batch_size": 8, "snapshots": 0},
    "ppo": {"episodes": 8, "batch_size": 8, "minibatch_size": 8, "max_new_tokens": 8, "examples": 0, "snapshots": 0,
            "normalise_samples": 8},
}
LORA = {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": "all-linear"}
SHARED = {"value_backbone": "shared", "value_coefficient": 0.1}
DTYPES = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A base, a reward model, and the rows of every training stage."""
    folder = tmp_path_factory.mktemp("inputs")
    base = make_gpt2(folder / "base")
    save_policy(reward_model_from_policy(load_policy(base)), load_tokenizer(base), folder / "reward", base, base)
    questions = [[{"role": "user", "content": f"What is {i}?"}] for i in range(16)]
    answers = [[{"role": "assistant", "content": f"It is {i}."}] for i in range(16)]
    fields = [{"id": f"r{i}", "root": f"r{i}", "category": "reasoning"} for i in range(16)]
    write_jsonl(folder / "demonstrations.jsonl",
                [{**f, "messages": [*q, *a]} for f, q, a in zip(fields, questions, answers, strict=True)])
    comparisons = [{**f, "prompt": q, "chosen": a, "rejected": [{"role": "assistant", "content": "no no"}],
                    "score_gap": 1.0, "agrees": True} for f, q, a in zip(fields, questions, answers, strict=True)]
    write_jsonl(folder / "compare" / "train.jsonl", comparisons)
    write_jsonl(folder / "compare" / "heldout.jsonl", comparisons[:2])
    write_jsonl(folder / "prompts.jsonl", [{**f, "prompt": q} for f, q in zip(fields, questions, strict=True)])
    return folder


def train(stage, inputs, folder, dtype, **changes):
    """Run one training stage; returns its directory."""
    base, out, checkpoints = inputs / "base", folder / f"{stage}-{dtype}", folder / f"c-{stage}-{dtype}"
    checkpoints.mkdir(parents=True)
    cfg = config(stage, dtype=dtype, **{**SMALL[stage], **changes})
    if stage == "sft":
        sft_stage.sft(cfg, base, inputs / "demonstrations.jsonl", out, checkpoints)
    elif stage == "ppo":
        out.mkdir()
        ppo_stage.ppo(cfg, base, base, inputs / "reward", inputs / "prompts.jsonl", out, checkpoints)
    else:
        function = {"reward": reward_stage.reward, "dpo": dpo_stage.dpo}[stage]
        function(cfg, base, base, inputs / "compare", out, checkpoints)
    return out


def share_moved(before, after):
    """Share of the stored numbers that training changed; both directories hold float32."""
    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    names = sorted(old.keys() & new.keys())
    assert len(names) > 20 and all(new[name].dtype == torch.float32 for name in names)
    moved = sum(int((old[name] != new[name]).sum()) for name in names)
    return moved / sum(old[name].numel() for name in names)


@pytest.mark.parametrize("rate", [1e-6, 1e-5, 1e-4])
def test_dpo_moves_in_bfloat16_what_it_moves_in_float32(inputs, tmp_path, rate):
    moved, curves = {}, {}
    for dtype in DTYPES:
        out = train("dpo", inputs, tmp_path, dtype, learning_rate=rate)
        moved[dtype] = share_moved(inputs / "base", out)
        curves[dtype] = read_jsonl(out / "curves.jsonl")
    assert moved["float32"] > 0.6  # positions and tokens that no row has stay
    assert moved["bfloat16"] == pytest.approx(moved["float32"], rel=0.03)
    ours, theirs = (curves[dtype][-1] for dtype in DTYPES)
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=0.01)
    if rate == 1e-4:  # at smaller rates the margin moves by less than a bfloat16 product is rounded
        assert theirs["rewards/margins"] == pytest.approx(ours["rewards/margins"], rel=0.2)


def test_ppo_begins_at_no_distance_from_its_reference(inputs, tmp_path):
    """Reference, sampled and trained policy compute alike, so the first KL is 0 and the first ratio 1, to the bit."""
    for name, changes in {"full": {}, "lora": {"lora": LORA}, "shared": SHARED}.items():
        first = read_jsonl(train("ppo", inputs, tmp_path / name, "bfloat16", **changes) / "curves.jsonl")[0]
        assert (first["kl"], first["first_ratio"]) == (0.0, 1.0), name


@pytest.mark.parametrize("stage, last", [("sft", "loss"), ("reward", "loss"), ("ppo", "value_loss")])
def test_every_stage_moves_at_the_smallest_rate(inputs, tmp_path, stage, last):
    more = {"value_learning_rate": 1e-6} if stage == "ppo" else {}
    moved, curves = {}, {}
    for dtype in DTYPES:
        out = train(stage, inputs, tmp_path, dtype, learning_rate=1e-6, **more)
        moved[dtype] = share_moved(inputs / "base", out)
        curves[dtype] = read_jsonl(out / "curves.jsonl")
    assert moved["float32"] > 0.5
    assert moved["bfloat16"] == pytest.approx(moved["float32"], rel=0.05)
    assert curves["bfloat16"][-1][last] == pytest.approx(curves["float32"][-1][last], rel=0.02)


# --- rounding ---


def chain_of_two(folder):
    """A base in float32, and two adapters over it that are not zero."""
    base = make_qwen2(folder / "base")
    tokenizer, start = load_tokenizer(base), base
    for seed, name in enumerate(("sft", "dpo")):
        model = peft.get_peft_model(load_policy(start, base), peft.LoraConfig(r=2, target_modules="all-linear"))
        generator = torch.Generator().manual_seed(seed)
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        save_policy(model, tokenizer, folder / name, base=base, start=start)
        start = folder / name
    return base, start


def packaged(policy, base, folder, dtype):
    (folder / "select").mkdir(parents=True)
    (folder / "select" / "selection.json").write_text(json.dumps({"method": "dpo", "checkpoint": "final"}))
    package_stage.package(config("package", dtype=dtype), base, {"dpo": policy}, folder / "select", folder / "package")
    return folder / "package"


@pytest.mark.parametrize("kind", ["whole", "chain"])
def test_what_is_judged_is_what_is_packaged(tmp_path, kind):
    base, policy = chain_of_two(tmp_path)
    if kind == "whole":
        policy, base = base, base
    package = packaged(policy, base, tmp_path, "bfloat16")
    judged, served = load_policy(policy, base, "bfloat16"), load_policy(package, dtype="bfloat16")
    ids = torch.arange(3, 40)[None]
    assert torch.equal(judged(ids).logits, served(ids).logits)
    assert not torch.equal(judged(ids).logits.float(), load_policy(policy, base)(ids).logits)
    assert json.loads((package / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_chain_is_rounded_once(tmp_path):
    """Each weight of the judged model is the float32 one to its nearest bfloat16; its rotary frequencies are whole."""
    base, policy = chain_of_two(tmp_path)
    exact, judged = load_policy(policy, base).state_dict(), load_policy(policy, base, "bfloat16")
    rounded = judged.state_dict()
    assert all(torch.equal(rounded[name], exact[name].to(torch.bfloat16)) for name in exact)
    assert judged.model.rotary_emb.inv_freq.dtype == torch.float32


def test_a_chain_of_a_reward_model_is_rounded_once(tmp_path):
    base = make_qwen2(tmp_path / "base")
    adapter = peft.LoraConfig(r=2, target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"])
    model = peft.get_peft_model(reward_model_from_policy(load_policy(base)), adapter)
    save_policy(model, load_tokenizer(base), tmp_path / "reward", base, base)
    exact = load_reward_model(tmp_path / "reward", base).state_dict()
    rounded = load_reward_model(tmp_path / "reward", base, "bfloat16").state_dict()
    assert all(torch.equal(rounded[name], exact[name].to(torch.bfloat16)) for name in exact)


def test_rounding_leaves_what_the_class_keeps_in_float32(tmp_path):
    policy = load_policy(make_gpt2(tmp_path))
    policy._keep_in_fp32_modules_strict = {"ln_f"}
    kinds = {name: p.dtype for name, p in round_weights(policy, torch.bfloat16).named_parameters()}
    assert {name for name, dtype in kinds.items() if dtype == torch.float32} == {
        "transformer.ln_f.weight", "transformer.ln_f.bias"}


# Numbers that no file holds, made in the model's dtype; one that is float32 in any; scales of embeddings; plain.
@pytest.mark.parametrize(
    "name", ["FalconH1ForCausalLM", "OlmoHybridForCausalLM", "Gemma3ForCausalLM", "LlamaForCausalLM"])
def test_rounded_is_what_is_read_rounded(tmp_path, name):
    """A model rounded in memory, as a chain is, and the same one read in bfloat16, as the served package is."""
    build(name).save_pretrained(tmp_path)
    rounded, served = round_weights(load_policy(tmp_path), torch.bfloat16), load_policy(tmp_path, dtype="bfloat16")
    for kind in ("named_parameters", "named_buffers"):
        for (where, held), (_, read) in zip(getattr(rounded, kind)(), getattr(served, kind)(), strict=True):
            assert held.dtype == read.dtype and torch.equal(held, read), where
    assert torch.equal(alone(rounded, ROWS[4]), alone(served, ROWS[4]))


@pytest.mark.parametrize("name", ["MambaForCausalLM", "Mamba2ForCausalLM", "FalconMambaForCausalLM"])
def test_states_in_float32_are_read_by_a_rounded_head(name):
    """Mamba adds up its states in float32, whatever its weights: to log-probs and to scores, near those of float32."""
    exact, rounded = build(name), round_weights(build(name), torch.bfloat16)
    with torch.no_grad():
        ours, theirs = (response_logprobs(model, PROMPTS, RESPONSES, 1.0).logprobs for model in (rounded, exact))
    assert (ours - theirs).abs().mean() < 0.1
    rewards = [score(round_weights(reward_model_from_policy(exact), dtype), ROWS, 4)
               for dtype in (torch.bfloat16, torch.float32)]
    torch.testing.assert_close(rewards[0], rewards[1], atol=0.1, rtol=0.1)


@pytest.mark.parametrize("make", [make_gpt2, make_qwen2])
def test_a_frozen_model_gives_the_same_numbers_in_half_the_memory(tmp_path, make):
    """Both tiny models use their embedding as head, which stays: what is looked up is not cast."""
    model, ids = load_policy(make(tmp_path)), torch.arange(3, 40)[None]
    with torch.no_grad(), products_in(torch.bfloat16, ids.device):
        before = model(ids).logits
        after = hold_products_in(model, torch.bfloat16)(ids).logits
    assert torch.equal(before, after)
    assert model.get_input_embeddings().weight.dtype == torch.float32
    assert sum(p.dtype == torch.bfloat16 for p in model.parameters()) >= 14
