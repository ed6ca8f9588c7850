"""Model directories: what is refused and why, token ids in and out, adapter chains."""

import json

import pytest
import torch
from transformers import AutoTokenizer

from models.chat import template as chat_template
from models.lm import loading
from models.reward import model as reward_model
from tests.support.tiny_models import adapted, broken, gpt2, make_gpt2, make_qwen2, qwen2  # noqa: F401

USER = [{"role": "user", "content": "What is two plus three?"}]


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist; set model.path"):
        loading.load_policy(tmp_path / "nowhere")


def test_a_directory_without_config_is_refused(broken):
    (broken / "config.json").unlink()
    with pytest.raises(ValueError, match="no config.json"):
        loading.load_policy(broken)


def test_remote_code_is_refused(broken):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.py"}}))
    with pytest.raises(ValueError, match="auto_map"):
        loading.load_policy(broken)


def test_pickled_weights_are_refused(broken):
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no \\*.safetensors"):
        loading.load_policy(broken)


def test_a_tokenizer_without_template_or_eos_is_refused(broken):
    tokenizer = AutoTokenizer.from_pretrained(broken)
    tokenizer.chat_template = None
    (broken / "chat_template.jinja").unlink()
    tokenizer.save_pretrained(broken)
    with pytest.raises(ValueError, match="no chat template"):
        chat_template.load_tokenizer(broken)
    tokenizer.chat_template, tokenizer.eos_token = "x", None
    tokenizer.save_pretrained(broken)
    with pytest.raises(ValueError, match="no EOS token"):
        chat_template.load_tokenizer(broken)


def test_a_directory_without_tokenizer_is_refused(broken):
    (broken / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match="no tokenizer_config.json"):
        chat_template.load_tokenizer(broken)


@pytest.mark.parametrize("name, end", [("gpt2", "<|endoftext|>"), ("qwen2", "<|im_end|>")])
def test_prompt_and_response_make_the_templates_own_ids(name, end, request):
    """Our two halves joined are what the chat template renders of the whole conversation, up to the end of the turn."""
    tokenizer = chat_template.load_tokenizer(request.getfixturevalue(name))
    turns = [*USER, {"role": "assistant", "content": "It is five."}]
    prompt, response = chat_template.encode_example(tokenizer, turns)
    ids, whole = prompt + response, tokenizer.apply_chat_template(turns, tokenize=False)
    assert whole.startswith(tokenizer.decode(ids)) and tokenizer.decode(ids).endswith(end)
    assert chat_template.end_of_turn(tokenizer) in chat_template.stop_ids(tokenizer)
    assert chat_template.decode_response(tokenizer, response) == "It is five."


def test_a_chain_of_adapters_is_what_was_trained(qwen2, tmp_path):
    tokenizer, ids = chat_template.load_tokenizer(qwen2), torch.tensor([[5, 6, 7, 8]])
    first = adapted(loading.load_policy(qwen2), seed=1)
    loading.save_policy(first, tokenizer, tmp_path / "sft", base=qwen2, start=qwen2)
    second = adapted(loading.load_policy(tmp_path / "sft", qwen2), seed=2)
    loading.save_policy(second, tokenizer, tmp_path / "dpo", base=qwen2, start=tmp_path / "sft")
    assert not list((tmp_path / "dpo").glob("*.safetensors"))
    loaded = loading.load_policy(tmp_path / "dpo", qwen2)
    torch.testing.assert_close(loaded(ids).logits, second(ids).logits)
    assert not torch.allclose(loaded(ids).logits, loading.load_policy(qwen2)(ids).logits)


def test_a_chain_needs_the_base_that_it_was_trained_on(qwen2, gpt2, tmp_path):
    chain = tmp_path / "sft"
    trained, tokenizer = adapted(loading.load_policy(qwen2), 1), chat_template.load_tokenizer(qwen2)
    loading.save_policy(trained, tokenizer, chain, qwen2, qwen2)
    with pytest.raises(ValueError, match="adapters only"):
        loading.load_policy(chain)
    with pytest.raises(ValueError, match="another base"):
        loading.load_policy(chain, gpt2)


def test_an_adapter_over_another_whole_model_is_merged(qwen2, tmp_path):
    """SFT trained every weight, DPO an adapter: a chain over the base would lose SFT."""
    tokenizer, ids = chat_template.load_tokenizer(qwen2), torch.tensor([[5, 6, 7, 8]])
    sft = loading.load_policy(qwen2)
    with torch.no_grad():
        next(sft.parameters()).mul_(1.1)
    loading.save_policy(sft, tokenizer, tmp_path / "sft", base=qwen2, start=qwen2)
    dpo = adapted(loading.load_policy(tmp_path / "sft"), seed=3)
    loading.save_policy(dpo, tokenizer, tmp_path / "dpo", base=qwen2, start=tmp_path / "sft")
    torch.testing.assert_close(loading.load_policy(tmp_path / "dpo")(ids).logits, dpo(ids).logits)


def test_adapters_hold_no_path_of_the_machine(qwen2, tmp_path):
    out = tmp_path / "sft"
    loading.save_policy(adapted(loading.load_policy(qwen2), 1), chat_template.load_tokenizer(qwen2), out, qwen2, qwen2)
    for file in out.rglob("*.json"):
        assert str(qwen2) not in file.read_text()


def test_a_reward_model_comes_back_with_its_head(qwen2, tmp_path):
    tokenizer, ids = chat_template.load_tokenizer(qwen2), torch.tensor([[5, 6, 7]])
    model = reward_model.reward_model_from_policy(loading.load_policy(qwen2), seed=1)
    loading.save_policy(model, tokenizer, tmp_path / "reward", base=qwen2, start=qwen2)
    loaded = reward_model.load_reward_model(tmp_path / "reward")
    states = [getattr(m, m.base_model_prefix)(ids).last_hidden_state for m in (model, loaded)]
    torch.testing.assert_close(model.score(states[0]), loaded.score(states[1]))
