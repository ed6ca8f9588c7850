"""The package: its generation config is how it was evaluated, and no more; a base's own settings are no trap on the way."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy, save_policy
from tasks.package import package
from tests.support.evaluation_rows import config
from tests.support.tiny_models import make_gpt2, make_qwen2

# What bases of the field bring: Llama 2's own; Qwen's; a judge's; ids alone; greedy with leftovers, which cannot be saved.
GENERATION = {
    "warpers": {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    "penalties": {"do_sample": True, "repetition_penalty": 1.05, "top_k": 20, "top_p": 0.8, "temperature": 0.7},
    "bounds": {"max_length": 30, "min_new_tokens": 4, "no_repeat_ngram_size": 2},
    "suppressing": {"suppress_tokens": [5, 6], "begin_suppress_tokens": [7], "forced_eos_token_id": 0},
    "several ends": {"eos_token_id": [7, 2, 0], "bos_token_id": 1},
    "temperature without sampling": {"temperature": 0.6},
    "top_p without sampling": {"do_sample": False, "top_p": 0.9},
    "beams": {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_qwen2(tmp_path_factory.mktemp("base"))


def with_generation(base, folder, fields):
    shutil.copytree(base, folder)
    (folder / "generation_config.json").write_text(json.dumps(fields))
    return folder


def package_of(policy, base, folder):
    (folder / "select").mkdir(parents=True)
    (folder / "select" / "selection.json").write_text(json.dumps({"method": "dpo", "checkpoint": "final"}))
    package(config("package"), base, {"dpo": policy}, folder / "select", folder / "package")
    return folder / "package"


@pytest.mark.parametrize("name", GENERATION)
def test_a_bases_settings_do_not_reach_the_package(base, tmp_path, name):
    """Through a stage that trains as TRL does, which sets PAD; hearth's serving temperature is 0.7."""
    start = with_generation(base, tmp_path / "base", GENERATION[name])
    policy, tokenizer = load_policy(start), load_tokenizer(start)
    policy.generation_config.pad_token_id = tokenizer.pad_token_id
    save_policy(policy, tokenizer, tmp_path / "dpo", start, start)
    written = json.loads((package_of(tmp_path / "dpo", start, tmp_path) / "generation_config.json").read_text())
    written.pop("transformers_version")
    end = tokenizer.eos_token_id
    expected = {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 1.0, "pad_token_id": tokenizer.pad_token_id,
                "eos_token_id": [end]}
    if name == "several ends":
        expected |= {"eos_token_id": sorted({7, 2, 0, end}), "bos_token_id": 1}
    assert written == expected


def test_the_ends_of_the_base_reach_the_package_of_an_adapter(base, tmp_path):
    import peft

    start = with_generation(base, tmp_path / "base", GENERATION["several ends"])
    adapted = peft.get_peft_model(load_policy(start), peft.LoraConfig(r=2, target_modules="all-linear"))
    save_policy(adapted, load_tokenizer(start), tmp_path / "dpo", start, start)
    written = GenerationConfig.from_pretrained(package_of(tmp_path / "dpo", start, tmp_path))
    assert set(written.eos_token_id) == {7, 2, 0, load_tokenizer(start).eos_token_id}


def test_generate_draws_from_what_evaluation_draws_from(tmp_path):
    """transformers' own `generate` on the package, with nothing said, has our distribution: all tokens, at 0.7."""
    base = make_gpt2(tmp_path / "base")
    served = AutoModelForCausalLM.from_pretrained(package_of(base, base, tmp_path)).eval()
    ids = torch.tensor([[5, 6, 7]])
    drawn = served.generate(ids, max_new_tokens=1, output_scores=True, return_dict_in_generate=True)
    with torch.no_grad():
        expected = torch.log_softmax(load_policy(base)(ids).logits[:, -1] / 0.7, -1)
    torch.testing.assert_close(torch.log_softmax(drawn.scores[0], -1), expected)
    assert torch.isfinite(drawn.scores[0]).all()
