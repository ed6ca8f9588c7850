"""Every architecture goes the whole way: tokenizer, SFT, log-probs, samples, reward model, DPO, PPO, package, reload.

What comes out in a batch is what each row gives alone; or the architecture is refused by name before a stage runs. A
new one is a line in tests/support/tiny_architectures.py.
"""

import json

import pytest
import torch
import yaml
from transformers import AutoConfig

from models.architectures.support import TRIALS, unsupported
from models.chat.template import load_tokenizer
from models.lm.batching import backbone_of
from models.lm.loading import load_policy
from models.lm.logprobs import join, response_logprobs
from models.lm.packing import can_pack
from models.ppo.value import SharedValue, ValueModel, check_critic
from models.reward.model import load_reward_model, reward_model_from_policy
from models.reward.scoring import score
from models.sampling import decoder
from models.sampling.sampler import SamplingSettings, sample
from tasks import dpo, package, ppo, reward, sft
from tasks.common.rows import write_jsonl
from tasks.runner.params import stage_config
from tests.import_closure import ROOT
from tests.support.tiny_architectures import ALLOWED, ARCHITECTURES, PROMPTS, RESPONSES, ROWS, alone, build, greedy
from tests.support.tiny_models import GPT2_TEMPLATE, make_tokenizer

TOKENS = 8
# One of each way to attend and to remember: these run in `make test`, the others in `make test-compat`.
QUICK = ("LlamaForCausalLM", "GraniteForCausalLM", "OPTForCausalLM", "Phi3ForCausalLM", "Qwen2MoeForCausalLM",
         "PhimoeForCausalLM", "Llama4ForCausalLM", "MptForCausalLM", "JambaForCausalLM", "MambaForCausalLM",
         "FalconH1ForCausalLM", "RecurrentGemmaForCausalLM", "Qwen3NextForCausalLM")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.compat) for name in ARCHITECTURES]


# What cannot be used for something, in transformers' own sizes.
REFUSED = {"BertLMHeadModel": ("bert", "causal", "SFT and DPO"), "MiniMaxForCausalLM": ("minimax", "sample", "sampling"),
           "ModernBertDecoderForCausalLM": ("modernbert-decoder", "reward", "a reward model")}


def test_all_that_may_be_promoted_is_tried():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(params["promote"]["allowed_architectures"]) == set(ALLOWED)


def logprobs_are_those_of_each_row_alone(model):
    with torch.no_grad():
        found = response_logprobs(model, PROMPTS, RESPONSES, 1.0)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES)):
        distribution = torch.log_softmax(alone(model, [*prompt, *response[:-1]]), -1)[len(prompt) - 1:]
        expected = distribution.gather(1, torch.tensor(response)[:, None])[:, 0]
        torch.testing.assert_close(found.logprobs[i, : len(response)], expected, atol=1e-4, rtol=1e-5)


def samples_are_what_transformers_generates(model):
    rows = [(str(i), prompt) for i, prompt in enumerate(PROMPTS)]
    expected = [greedy(model, prompt, TOKENS) for prompt in PROMPTS]
    for drawn in sample(model, rows, 2, SamplingSettings(0.0, TOKENS, 0), stop_ids=frozenset(), rows_per_batch=5):
        tokens, logprobs = expected[int(drawn.prompt_id)]
        assert list(drawn.response_ids) == tokens
        torch.testing.assert_close(torch.tensor(drawn.logprobs), logprobs, atol=1e-4, rtol=1e-5)


def scores_are_those_of_each_row_alone(model):
    with torch.no_grad():
        states = [backbone_of(model)(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state[0] for row in ROWS]
        expected = torch.stack([state[-1] @ model.score.weight[0] for state in states])
    torch.testing.assert_close(score(model, ROWS, 4), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_rows_in_a_batch_are_as_alone(name):
    model = build(name)
    logprobs_are_those_of_each_row_alone(model)
    samples_are_what_transformers_generates(model)


@pytest.mark.parametrize("name", EACH)
def test_a_reward_model_and_critics_of_it(name, tmp_path):
    """Scores are w · h at each row's last token, also after a reload; both kinds of critic learn."""
    policy = build(name)
    model = reward_model_from_policy(policy)
    scores_are_those_of_each_row_alone(model)
    model.save_pretrained(tmp_path)
    again = load_reward_model(tmp_path)
    assert again.config.architectures == [type(model).__name__]
    torch.testing.assert_close(score(again, ROWS, 4), score(model, ROWS, 4), atol=1e-4, rtol=1e-5)
    for critic in (ValueModel.from_reward_model(again), SharedValue(policy)):
        check_critic(policy, critic)
        critic(join(PROMPTS, RESPONSES)).sum().backward()
        assert all(p.grad is not None for p in critic.head.parameters())


@pytest.mark.compat
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_whole_way(name, tmp_path, compat_row):
    base, tokenizer = tmp_path / "base", make_tokenizer(["<|endoftext|>"], "<|endoftext|>", "<|endoftext|>", GPT2_TEMPLATE)
    build(name).save_pretrained(base)
    tokenizer.save_pretrained(base)
    refusals = {use: reason for use in TRIALS if (reason := unsupported(AutoConfig.from_pretrained(base), use))}
    assert not refusals
    trained = run_stages(base, tmp_path)
    policy = load_policy(trained["ppo"], base)
    logprobs_are_those_of_each_row_alone(policy)
    samples_are_what_transformers_generates(policy)
    scores_are_those_of_each_row_alone(load_reward_model(trained["reward"], base))
    for row in ROWS:
        served = alone(load_policy(trained["package"]), row)
        torch.testing.assert_close(served, alone(policy, row), atol=1e-4, rtol=1e-5)
    mixed = decoder.may_mix(policy, 2, 2)
    compat_row("architectures", name, "packed rows" if can_pack(backbone_of(policy)) else "padded rows",
               "rows of any length" if mixed else "rows of one length", "all stages")


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_work_is_refused_by_name(name, compat_row):
    kind, use, purpose = REFUSED[name]
    reason = unsupported(AutoConfig.for_model(kind, architectures=[name]), use)
    assert reason.startswith(f"{name} cannot be used for {purpose}: ")
    assert reason.endswith("; set model.path to a model of another architecture") or "set model.path to a causal" in reason
    compat_row("architectures", name, "–", "–", f"refused by the preflight for {purpose}")


def run_stages(base, folder):
    """SFT to package on a few rows, one or two optimizer steps a stage; returns the folder of each stage."""
    write_rows(folder)
    outs = {stage: folder / stage for stage in ("sft", "reward", "dpo", "ppo", "package")}
    kept = {stage: folder / f"checkpoints-{stage}" for stage in outs}
    for path in kept.values():
        path.mkdir()
    common = {"model": base, "sft": outs["sft"]}
    sft.sft(config("sft"), base, folder / "demonstrations.jsonl", outs["sft"], kept["sft"])
    reward.reward(config("reward"), **common, compare=folder / "compare", out=outs["reward"], checkpoints=kept["reward"])
    dpo.dpo(config("dpo"), **common, compare=folder / "compare", out=outs["dpo"], checkpoints=kept["dpo"])
    ppo.ppo(config("ppo"), **common, reward=outs["reward"], rl_prompts=folder / "rl_prompts.jsonl", out=outs["ppo"],
            checkpoints=kept["ppo"])
    (folder / "select").mkdir()
    (folder / "select" / "selection.json").write_text(json.dumps({"method": "ppo", "checkpoint": "final"}))
    package.package(config("package"), base, outs, folder / "select", outs["package"])
    assert load_tokenizer(outs["package"]).get_vocab() == load_tokenizer(base).get_vocab()
    return outs


def config(stage):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in ("sft", "reward", "dpo"):
        params[name] |= {"epochs": 1.0, "batch_size": 4, "max_length": 120, "learning_rate": 1e-4}
    params["ppo"] |= {"episodes": 4, "batch_size": 4, "minibatch_size": 4, "epochs": 1, "max_new_tokens": TOKENS,
                      "normalise_samples": 4, "examples": 0, "learning_rate": 1e-4, "snapshots": 0}
    params["ppo"]["guards"] = dict.fromkeys(params["ppo"]["guards"])
    return stage_config(params, stage)


def write_rows(folder):
    def turn(role, text):
        return [{"role": role, "content": text}]

    ids = [{"id": f"r{i}", "root": f"r{i}", "category": "reasoning"} for i in range(8)]
    write_jsonl(folder / "demonstrations.jsonl", [
        row | {"messages": turn("user", "What is " + "1 + " * i + "1?") + turn("assistant", f"{i + 1}.")}
        for i, row in enumerate(ids)])
    pairs = [row | {"score_gap": 1.0, "agrees": True, "prompt": turn("user", "What is " + "1 + " * i + "1?"),
                    "chosen": turn("assistant", f"It is {i + 1}."), "rejected": turn("assistant", "no")}
             for i, row in enumerate(ids)]
    write_jsonl(folder / "compare" / "train.jsonl", pairs[:4])
    write_jsonl(folder / "compare" / "heldout.jsonl", pairs[4:])
    write_jsonl(folder / "rl_prompts.jsonl", [row | {"prompt": pair["prompt"]} for row, pair in zip(ids, pairs)])
