"""Scores are read at the last real token by length, also where PAD equals EOS."""

import copy

import pytest
import torch
from torch import nn

from models.reward.scoring import model_scorer, pool_by_length, score
from tests.support.rl_models import gpt2_reward, llama, llama_reward, lora

# Rows that end in id 2 or 0: PAD equals EOS (2) in the GPT-2 model, PAD is 0 in the Llama model.
ROWS = [[5, 6, 2, 2], [7, 2], [8, 9, 10, 11, 0, 0], [2]]


def slow(model, row):
    states = getattr(model, model.base_model_prefix)(input_ids=torch.tensor([row])).last_hidden_state
    return model.score(states)[0, -1, 0].item()


def padded():
    width = max(map(len, ROWS))
    ids = torch.tensor([[*row, *[2] * (width - len(row))] for row in ROWS])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ROWS])
    return ids, mask


@pytest.mark.parametrize("build", [llama_reward, gpt2_reward])
def test_scores_one_row_at_a_time_agree(build):
    model = build()
    expected = torch.tensor([slow(model, row) for row in ROWS])
    torch.testing.assert_close(score(model, ROWS, 2), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(score(model, ROWS, 100), expected, atol=1e-5, rtol=1e-5)
    scorer = model_scorer(model, 2)
    torch.testing.assert_close(scorer([r[:1] for r in ROWS], [r[1:] for r in ROWS]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", [llama_reward, gpt2_reward])
def test_pool_by_length_agrees_with_score(build):
    model = build()
    ids, mask = padded()
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=mask).logits.squeeze(-1)
        pooled = pool_by_length(model)(input_ids=ids, attention_mask=mask).logits.squeeze(-1)
    torch.testing.assert_close(pooled, score(model, ROWS, 4), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before, pooled)  # the library's own pooling is wrong on these rows


def test_pool_by_length_saves_the_library_class(tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = pool_by_length(gpt2_reward())
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded).__name__ == "GPT2ForSequenceClassification"
    assert loaded.config.architectures == ["GPT2ForSequenceClassification"]
    torch.testing.assert_close(score(loaded.eval(), ROWS, 4), score(model, ROWS, 4))


def test_pool_by_length_copies_and_trains():
    model = pool_by_length(llama_reward())
    twin = copy.deepcopy(model)
    nn.init.zeros_(twin.score.weight)
    ids, mask = padded()
    assert (twin(input_ids=ids, attention_mask=mask).logits == 0).all()
    logits = model(input_ids=ids, attention_mask=mask).logits
    assert (logits != 0).all()
    logits.sum().backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_pool_by_length_without_mask_and_with_peft():
    model = llama_reward()
    expected = score(model, ROWS, 4)
    adapted = pool_by_length(lora(model, "SEQ_CLS"))
    ids, mask = padded()
    torch.testing.assert_close(adapted(input_ids=ids, attention_mask=mask).logits.squeeze(-1), expected)
    torch.testing.assert_close(score(adapted, ROWS, 4), expected)
    assert adapted(input_ids=ids).logits.shape == (4, 1)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="sequence 1 has no tokens"):
        score(llama_reward(), [[1], []], 4)
    with pytest.raises(ValueError, match="LlamaForCausalLM has no `score` head"):
        score(llama(), [[1]], 4)
    many = llama_reward()
    many.config.num_labels = 3
    with pytest.raises(ValueError, match="num_labels=3"):
        score(many, [[1]], 4)
    model = pool_by_length(llama_reward())
    with pytest.raises(ValueError, match="padding on the left"):
        model(input_ids=torch.tensor([[1, 2]]), attention_mask=torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="computes no loss"):
        model(input_ids=torch.tensor([[1, 2]]), labels=torch.tensor([0]))
