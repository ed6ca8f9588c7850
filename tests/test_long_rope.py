"""What any architecture is asked to do gives, for each row, what the row alone gives: log-probs, scores, samples.

Rows are longer than the windows and chunks of the models, and some of them long enough for other positions (longrope).
"""

import random

import pytest
import torch
from torch import nn

from models.batching import backbone_of, pad_right
from models.logprobs import join, response_logprobs, states_and_logits
from models.long_rope import crosses, keep_sides_apart, switch_length
from models.packing import token_states
from models.reward import pool_by_length, score
from models.reward_model import load_reward_model, reward_model_from_policy
from models.sampler import SamplingSettings, sample
from models.value import SharedValue, ValueModel, check_critic
from tests.tiny_architectures import ARCHITECTURES, SWITCH, VOCAB, build

DRAW = random.Random(0)
PROMPTS = [[DRAW.randrange(3, VOCAB) for _ in range(length)] for length in (2, 7, 12, 12, 20, 3)]
RESPONSES = [[DRAW.randrange(3, VOCAB) for _ in range(length)] for length in (9, 1, 6, 3, 8, 2)]
ROWS = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES)]
TOKENS = 8


def alone(model: nn.Module, row: list[int]) -> torch.Tensor:
    """Logits (time, vocabulary) of one row by itself."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([row]), use_cache=False).logits[0].float()


def greedy(model: nn.Module, prompt: list[int]) -> tuple[list[int], torch.Tensor]:
    """The most likely tokens, and their log-probs, as transformers generates them from one prompt."""
    made = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=TOKENS,
        do_sample=False, eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True,
    )
    logprobs = torch.log_softmax(torch.cat(made.logits).float(), -1).max(-1).values
    return made.sequences[0, len(prompt):].tolist(), logprobs


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logprobs_and_samples_are_those_of_each_row_alone(name):
    model = build(name)
    with torch.no_grad():
        found = response_logprobs(model, PROMPTS, RESPONSES, 1.0)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES)):
        distribution = torch.log_softmax(alone(model, [*prompt, *response[:-1]]), -1)[len(prompt) - 1:]
        expected = distribution.gather(1, torch.tensor(response)[:, None])[:, 0]
        torch.testing.assert_close(found.logprobs[i, : len(response)], expected, atol=1e-4, rtol=1e-5)
    rows = [(str(i), prompt) for i, prompt in enumerate(PROMPTS)]
    for drawn in sample(model, rows, 2, SamplingSettings(0.0, TOKENS, 0), stop_ids=frozenset(), rows_per_batch=5):
        tokens, logprobs = greedy(model, list(drawn.prompt_ids))
        assert list(drawn.response_ids) == tokens
        torch.testing.assert_close(torch.tensor(drawn.logprobs), logprobs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_reward_model_of_any_architecture(name, tmp_path):
    """Scores are w · h at each row's last token; so after a reload, and as the critic that starts from it."""
    policy = build(name)
    model = reward_model_from_policy(policy)
    with torch.no_grad():
        states = [backbone_of(policy)(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state[0] for row in ROWS]
        expected = torch.stack([state[-1] @ model.score.weight[0] for state in states])
    torch.testing.assert_close(score(model, ROWS, 4), expected, atol=1e-4, rtol=1e-5)
    model.save_pretrained(tmp_path)
    again = load_reward_model(tmp_path)
    assert again.config.architectures == [type(model).__name__]
    torch.testing.assert_close(score(again, ROWS, 4), expected, atol=1e-4, rtol=1e-5)
    batch = join(PROMPTS, RESPONSES)
    for critic in (ValueModel.from_reward_model(again), SharedValue(policy)):
        check_critic(policy, critic)
        critic(batch).sum().backward()
        assert all(p.grad is not None for p in critic.head.parameters())


def test_windows_that_stand_in_the_mask_alone():
    """Qwen2-MoE and Phimoe give attention no window: the mask has it, also in a batch of several lengths."""
    for name in ("Qwen2MoeForCausalLM", "PhimoeForCausalLM"):
        backbone = backbone_of(build(name))
        lengths = torch.tensor([len(row) for row in ROWS])
        ids, _ = pad_right(ROWS)
        found = token_states(backbone, ids, lengths, lengths.cumsum(0) - 1)
        expected = torch.stack([backbone(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in ROWS])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("final_cap", [None, 2.0], ids=["plain head", "capped head"])
def test_rows_on_both_sides_of_longrope(final_cap):
    """A row of 17 tokens beside one of 5: each as alone; a head that is not plain takes the same way."""
    model = build("Phi3ForCausalLM")
    if final_cap is not None:
        model.lm_head.register_forward_hook(lambda module, args, out: final_cap * torch.tanh(out / final_cap))
    assert switch_length(model) == SWITCH
    batch = join([ROWS[4][:17], ROWS[1][:5]], [[3, 4], [5]])
    with torch.no_grad():
        states, logits = states_and_logits(model, batch)
    expected = [alone(model, [*ROWS[4][:17], 3])[16], alone(model, [*ROWS[4][:17], 3])[17], alone(model, ROWS[1][:5])[4]]
    torch.testing.assert_close(logits, torch.stack(expected), atol=1e-4, rtol=1e-5)
    assert states.shape == (3, 32)


def test_trainers_give_longrope_both_sides_at_once():
    """TRL pads a batch and gives its mask: the rows' logits and gradients are those of each row alone."""
    plain, split = build("Phi3ForCausalLM"), build("Phi3ForCausalLM")
    keep_sides_apart(split)
    ids, lengths = pad_right([ROWS[4], ROWS[0]])
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    logits = split(input_ids=ids, attention_mask=mask.long()).logits
    for i, row in enumerate([ROWS[4], ROWS[0]]):
        expected = plain(input_ids=torch.tensor([row])).logits[0]
        torch.testing.assert_close(logits[i, : len(row)], expected, atol=1e-4, rtol=1e-5)
        expected.square().sum().backward()
    (logits * mask[..., None]).square().sum().backward()
    for ours, theirs in zip(split.parameters(), plain.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-2, rtol=1e-3)
    reward = pool_by_length(reward_model_from_policy(plain))
    keep_sides_apart(reward)
    found = reward(input_ids=ids, attention_mask=mask.long()).logits.squeeze(-1)
    torch.testing.assert_close(found, score(reward, [ROWS[4], ROWS[0]], 2), atol=1e-4, rtol=1e-5)


def test_a_rollout_that_crosses_the_switch_reuses_no_logprobs():
    """12 tokens and 4 more stay at the switch of 16; 5 more cross it; 17 are beyond it from the beginning."""
    model = build("Phi3ForCausalLM")
    assert [crosses(model, [length], new) for length, new in ((12, 4), (12, 5), (17, 5))] == [False, True, False]
    assert not crosses(build("LlamaForCausalLM"), [12], 500)


def test_a_head_whose_small_logits_hide_a_cap_is_not_plain():
    """Weights at the start give logits near 0, where a cap of 30 changes nothing yet."""
    from models.logprobs import head_is_plain

    capped = build("Gemma2ForCausalLM", initializer_range=0.001)
    assert capped.config.final_logit_softcapping == 30.0 and not head_is_plain(capped)
    assert head_is_plain(build("LlamaForCausalLM"))


def test_a_model_that_is_no_causal_lm_makes_no_reward_model():
    from transformers import CLIPVisionConfig

    from models.reward_model import reward_class

    with pytest.raises(ValueError, match="CLIPVisionConfig belongs to no causal language model"):
        reward_class(CLIPVisionConfig)
