"""Bases that had learnt their own end: they stop at it here as they do under transformers' `generate`."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from models.chat.template import decode_response, encode_example, encode_prompt, load_tokenizer, stop_ids
from models.lm.loading import load_policy
from models.sampling.sampler import SamplingSettings, sample
from tests.compat.chat_families import FAMILIES, make_tokenizer

DATE = "2026-03-05"
STEPS, QUESTIONS = 100, ("Who is it?", "How many?", "Which colour?", "Is it late?")
REPLIES = ("It is I.", "There are five.", "It is red.\nOr blue.", "No.")
TRIED = (
    "Llama 2", "Llama 3, base with the instruct template", "ChatML on a base", "Qwen 3, base", "DeepSeek R1 distill",
    "Gemma 3", "Phi 3", "Phi 4 mini", "Command R7B", "gpt-oss", "Falcon",
)
pytestmark = pytest.mark.compat


def rows():
    return [
        [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        for question, reply in zip(QUESTIONS, REPLIES, strict=True)
    ]


def learnt_base(path, tokenizer):
    """A two-layer model that was taught whole conversations as the template writes them, by another program."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    ))
    ids = [torch.tensor(sum(encode_example(tokenizer, row), [])) for row in rows()]
    labels = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        loss = model(input_ids=labels.clamp(min=0), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ends = (path / "generation_config.json").read_text()
    model.save_pretrained(path)
    (path / "generation_config.json").write_text(ends)


@pytest.mark.parametrize("family", [one for one in FAMILIES if one.name in TRIED], ids=lambda family: family.name)
def test_answers_end_where_the_base_had_learnt_to(family, tmp_path):
    path = make_tokenizer(family, tmp_path)
    learnt_base(path, load_tokenizer(path, DATE))
    tokenizer, policy = load_tokenizer(path, DATE), load_policy(path)
    prompts = [(str(i), encode_prompt(tokenizer, row[:1])) for i, row in enumerate(rows())]
    cold = SamplingSettings(1e-3, 40, 0)
    drawn = sample(policy, prompts, 1, cold, stop_ids=stop_ids(tokenizer), rows_per_batch=2)
    assert [decode_response(tokenizer, one.response_ids) for one in drawn] == list(REPLIES)
    assert all(one.finished for one in drawn)
    theirs = AutoModelForCausalLM.from_pretrained(path)
    for one, (_, ids), row in zip(drawn, prompts, rows(), strict=True):
        made = theirs.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=40, pad_token_id=0,
                               eos_token_id=sorted(stop_ids(tokenizer)))[0].tolist()
        assert made[len(ids):] == list(one.response_ids) == encode_example(tokenizer, row)[1]
    learnt = theirs.generation_config.eos_token_id
    assert stop_ids(tokenizer) >= set(learnt if isinstance(learnt, list) else [learnt])
    assert AutoTokenizer.from_pretrained(path).eos_token_id in stop_ids(tokenizer)
