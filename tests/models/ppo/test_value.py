"""The critic: values at the states that choose each response token, from a backbone of its own or the policy's."""

import pytest
import torch
from torch import nn

from models.lm.batching import backbone_of
from models.lm.logprobs import batch_logprobs, join
from models.ppo.value import SharedValue, ValueModel, check_critic
from models.reward.scoring import score
from tests.support.rl_models import cohere, gpt2, gpt2_reward, llama, llama_reward, lora

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
    value.normalise(0.0, 1.0, weight=-3.0)
    assert value.head(torch.tensor([[2.0]])).item() == -6.0


def shared(policy):
    value = SharedValue(policy)
    torch.manual_seed(3)
    nn.init.normal_(value.head.weight)
    nn.init.constant_(value.head.bias, 0.5)
    return value


@pytest.mark.parametrize("build", [llama, lambda: gpt2().eval(), lambda: lora(llama()), cohere],
                         ids=["llama", "gpt2", "lora", "cohere"])
def test_shared_values_by_hand(build):
    """w · h + b at the state before each response token, and the policy's log-probs as they are without a critic."""
    policy = build()
    value, batch = shared(policy), join(PROMPTS, RESPONSES)
    values = value(batch)
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        for t in range(len(response)):
            state = backbone_of(policy)(input_ids=torch.tensor([[*prompt, *response[:t]]])).last_hidden_state[0, -1]
            expected = state @ value.head.weight[0] + 0.5
            torch.testing.assert_close(values[i, t], expected, atol=1e-5, rtol=1e-4)
    assert (values[0, 2:] == 0).all()
    logprobs, same = value.with_logprobs(batch, 0.7)
    torch.testing.assert_close(same, values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logprobs.logprobs, batch_logprobs(policy, batch, 0.7).logprobs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("build", [llama, cohere])
def test_shared_values_cost_no_second_pass(build):
    policy, calls = build(), []
    value, batch = SharedValue(policy), join(PROMPTS, RESPONSES)
    value.with_logprobs(batch, 1.0)  # finds out once how the model may be run
    backbone_of(policy).layers[0].register_forward_hook(lambda *_: calls.append("forward"))
    logprobs, values = value.with_logprobs(batch, 1.0)
    assert calls == ["forward"]
    (logprobs.logprobs.sum() + values.sum()).backward()
    assert value.head.weight.grad is not None and backbone_of(policy).get_input_embeddings().weight.grad is not None


def test_the_shared_critic_is_its_head_alone():
    policy = lora(llama())
    value = SharedValue(policy)
    assert {name for name, _ in value.named_parameters()} == set(value.state_dict()) == {"head.weight", "head.bias"}
    assert (value(join(PROMPTS, RESPONSES)) == 0).all() and not value.in_reward_units


@pytest.mark.parametrize(
    "value, message",
    [
        (lambda: ValueModel.with_zero_head(llama(vocab_size=30)), "knows 30 token ids .* policy writes 40; .*shared"),
        (lambda: ValueModel(llama().model, nn.Linear(16, 1)), "reads 16 numbers .* gives 32; make the head .*32, 1"),
        (lambda: SharedValue(llama()), "shares the backbone of another model"),
    ],
)
def test_a_critic_that_does_not_fit_is_named(value, message):
    with pytest.raises(ValueError, match=message):
        check_critic(llama(), value())


def test_critics_that_fit():
    """Another width or depth is fine, and so is a larger vocabulary; a policy may be adapted after it is shared."""
    policy = llama()
    value = SharedValue(policy)
    check_critic(lora(policy), value)
    check_critic(llama(), ValueModel.with_zero_head(llama(hidden_size=16, num_hidden_layers=1, vocab_size=50)))
