"""Rows on either side of a longrope's switch, and masks that hold what attention is not told: each row as if alone."""

import pytest
import torch

from models.lm.batching import backbone_of, pad_right
from models.lm.head import head_is_plain, logits_of
from models.lm.logprobs import join, response_states
from models.lm.long_rope import crosses, keep_sides_apart, switch_length
from models.lm.packing import token_states
from models.reward.model import reward_class, reward_model_from_policy
from models.reward.scoring import pool_by_length, score
from tests.support.tiny_architectures import ROWS, SWITCH, alone, build


def test_windows_that_stand_in_the_mask_alone():
    """Qwen2-MoE and Phimoe give attention no window: the mask has it, also in a batch of several lengths."""
    for name in ("Qwen2MoeForCausalLM", "PhimoeForCausalLM"):
        backbone = backbone_of(build(name))
        lengths = torch.tensor([len(row) for row in ROWS])
        ids, _ = pad_right(ROWS)
        actual = token_states(backbone, ids, lengths, lengths.cumsum(0) - 1)
        expected = torch.stack([backbone(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in ROWS])
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("final_cap", [None, 2.0], ids=["plain head", "capped head"])
def test_rows_on_both_sides_of_longrope(final_cap):
    """A row of 17 tokens beside one of 5: each as alone; a head that is not plain takes the same way."""
    model = build("Phi3ForCausalLM")
    if final_cap is not None:
        model.lm_head.register_forward_hook(lambda module, args, out: final_cap * torch.tanh(out / final_cap))
    assert switch_length(model) == SWITCH
    batch = join([ROWS[4][:17], ROWS[1][:5]], [[3, 4], [5]])
    with torch.no_grad():
        states = response_states(model, batch)
        logits = torch.cat(list(logits_of(model, states)))
    long, short = alone(model, [*ROWS[4][:17], 3]), alone(model, ROWS[1][:5])
    expected = [long[16], long[17], short[4]]
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
    actual = reward(input_ids=ids, attention_mask=mask.long()).logits.squeeze(-1)
    torch.testing.assert_close(actual, score(reward, [ROWS[4], ROWS[0]], 2), atol=1e-4, rtol=1e-5)


def test_a_rollout_that_crosses_the_switch_reuses_no_logprobs():
    """12 tokens and 4 more stay at the switch of 16; 5 more cross it; 17 are beyond it from the beginning."""
    model = build("Phi3ForCausalLM")
    assert [crosses(model, [length], new) for length, new in ((12, 4), (12, 5), (17, 5))] == [False, True, False]
    assert not crosses(build("LlamaForCausalLM"), [12], 500)


def test_a_head_whose_small_logits_hide_a_cap_is_not_plain():
    """Weights at the start give logits near 0, where a cap of 30 changes nothing yet."""
    capped = build("Gemma2ForCausalLM", initializer_range=0.001)
    assert capped.config.final_logit_softcapping == 30.0 and not head_is_plain(capped)
    assert head_is_plain(build("LlamaForCausalLM"))


def test_a_model_that_is_no_causal_lm_makes_no_reward_model():
    from transformers import CLIPVisionConfig

    with pytest.raises(ValueError, match="CLIPVisionConfig belongs to no causal language model"):
        reward_class(CLIPVisionConfig)
