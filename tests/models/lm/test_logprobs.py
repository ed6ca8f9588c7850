"""Response log-probs against a full forward pass of one row at a time."""

import pytest
import torch

from models.lm.head import head_is_plain
from models.lm.logprobs import batch_logprobs, join, response_logprobs
from tests.support.rl_models import gpt2, llama, lora, prompts, qwen2

RESPONSES = [[4, 5, 2], [2], [6, 0, 9, 9, 9, 2], [0, 0, 0, 0]]


def slow(model, prompt, response, temperature):
    logits = model.eval()(input_ids=torch.tensor([[*prompt, *response]])).logits[0] / temperature
    distribution = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    return distribution[torch.arange(len(response)), torch.tensor(response)]


@pytest.mark.parametrize("build", [llama, gpt2, qwen2, lambda: lora(llama())], ids=["llama", "gpt2", "qwen2", "lora"])
def test_equals_one_row_at_a_time(build):
    model = build().eval()
    rows = [ids for _, ids in prompts(4)]
    out = response_logprobs(model, rows, RESPONSES, 0.7, rows_per_batch=3)
    assert out.response_mask.sum(1).tolist() == [3, 1, 6, 4]
    assert out.logprobs.shape == out.response_mask.shape == (4, 6)
    for i, (prompt, response) in enumerate(zip(rows, RESPONSES, strict=True)):
        logprobs = slow(model, prompt, response, 0.7)
        torch.testing.assert_close(out.logprobs[i, : len(response)], logprobs, atol=2e-5, rtol=1e-5)
    assert (out.logprobs[~out.response_mask] == 0).all()


def test_gradient_equals_the_slow_one():
    rows = [ids for _, ids in prompts(4)]
    gradients = []
    for fast in (True, False):
        model = llama()
        if fast:
            total = response_logprobs(model, rows, RESPONSES, 0.7, rows_per_batch=2).logprobs.sum()
        else:
            total = sum(slow(model, p, r, 0.7).sum() for p, r in zip(rows, RESPONSES, strict=True))
        total.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


def test_garbage_under_the_mask_changes_nothing():
    model = llama()
    batch = join([[5, 6, 7], [8]], [[4, 2], [9, 2]])
    clean = batch_logprobs(model, batch, 1.0).logprobs
    wide = torch.cat([batch.ids, torch.zeros(2, 3, dtype=torch.long)], 1)
    wide[0, 5:], wide[1, 3:] = 33, 34
    torch.testing.assert_close(batch_logprobs(model, batch._replace(ids=wide), 1.0).logprobs, clean)


def test_join_by_hand():
    batch = join([[5, 6, 7], [8]], [[4, 2], [9]])
    assert batch.ids.tolist() == [[5, 6, 7, 4], [8, 0, 0, 0]]  # the last token of a row predicts nothing
    assert batch.response_mask.tolist() == [[True, True], [True, False]]
    # Real tokens are numbered 0–3 in the first row and 4 in the second.
    assert batch.lengths.tolist() == [4, 1] and batch.states.tolist() == [2, 3, 4]
    assert batch.targets.tolist() == [4, 2, 9]


def test_architectures_that_change_logits_after_the_head_are_noticed():
    from transformers import CohereConfig, CohereForCausalLM

    torch.manual_seed(0)
    model = CohereForCausalLM(CohereConfig(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                                           num_attention_heads=4, logit_scale=0.25, initializer_range=0.3)).eval()
    assert not head_is_plain(model) and head_is_plain(llama())
    rows = [ids for _, ids in prompts(4)]
    out = response_logprobs(model, rows, RESPONSES, 1.0)
    torch.testing.assert_close(out.logprobs[2], slow(model, rows[2], RESPONSES[2], 1.0), atol=1e-5, rtol=1e-5)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="row 1 has an empty prompt"):
        join([[5], []], [[4], [4]])
    with pytest.raises(ValueError, match="temperature=0"):
        batch_logprobs(llama(), join([[5]], [[4]]), 0)


def test_prompt_learning_adapters_are_refused():
    from peft import PromptTuningConfig, get_peft_model

    model = get_peft_model(llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(ValueError, match="adapter type.*PROMPT_TUNING.*use LoRA"):
        response_logprobs(model, [[5]], [[4]], 1.0)


def test_a_model_without_backbone_is_refused():
    from models.lm.batching import backbone_of

    with pytest.raises(ValueError, match="Linear names no backbone"):
        backbone_of(torch.nn.Linear(2, 2))
