"""The critic: values at the states that choose each response token, from a backbone of its own."""

import pytest
import torch
from rl_models import gpt2, gpt2_reward, llama, llama_reward, lora
from torch import nn

from models.logprobs import join
from models.reward import score
from models.value import ValueModel

PROMPTS, RESPONSES = [[5, 6, 7], [8]], [[4, 2], [9, 9, 9, 2]]


@pytest.mark.parametrize("build", [llama_reward, gpt2_reward, lambda: lora(llama_reward(), "SEQ_CLS")],
                         ids=["llama", "gpt2", "lora"])
def test_starts_as_the_reward_model(build):
    reward = build().eval()
    values = ValueModel.from_reward_model(reward).eval()(join(PROMPTS, RESPONSES))
    assert values.shape == (2, 4)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        for t in range(len(response)):
            expected = score(reward, [[*prompt, *response[:t]]], 1)[0]
            torch.testing.assert_close(values[i, t].detach(), expected, atol=1e-5, rtol=1e-5)
    assert (values[0, 2:] == 0).all()


def test_is_separate_from_the_reward_model_and_trains():
    reward = llama_reward()
    for parameter in reward.parameters():
        parameter.requires_grad_(False)
    value = ValueModel.from_reward_model(reward)
    value(join(PROMPTS, RESPONSES)).sum().backward()
    assert all(p.grad is not None for p in value.parameters())
    before = score(reward, [[5, 6]], 1)
    with torch.no_grad():
        for parameter in value.parameters():
            parameter.add_(1.0)
    assert torch.equal(score(reward, [[5, 6]], 1), before)


def test_with_lora_the_adapter_and_head_alone_train():
    value = ValueModel.from_reward_model(lora(llama_reward(), "SEQ_CLS"))
    trained = {name for name, p in value.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} < trained and all("lora_" in n or n.startswith("head.") for n in trained)


@pytest.mark.parametrize("build", [llama, gpt2, llama_reward])
def test_zero_head(build):
    value = ValueModel.with_zero_head(build())
    assert not value.in_reward_units and (value(join(PROMPTS, RESPONSES)) == 0).all()


def test_normalise_by_hand():
    """r = 5 with mean 1 and deviation 2 becomes 2; with a bias, too."""
    value = ValueModel(nn.Identity(), nn.Linear(1, 1))
    with torch.no_grad():
        value.head.weight.fill_(1.5)
        value.head.bias.fill_(2.0)
    value.normalise(1.0, 2.0)
    assert value.head(torch.tensor([[2.0]])).item() == 2.0
