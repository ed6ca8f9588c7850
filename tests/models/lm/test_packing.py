"""Packed rows give the hidden states, and the gradients, of each row alone."""

import pytest
import torch

from models.lm.batching import backbone_of, pad_right
from models.lm.packing import _last_feed_forward_on, can_pack, token_states
from tests.support.rl_models import VOCAB, gpt2, llama, qwen2

ROWS = [[5, 6, 7, 8, 9, 10, 11, 12], [4], [9, 9, 2, 0, 0], [3, 2]]
EVERY = torch.arange(sum(map(len, ROWS)))


def windowed():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                        num_attention_heads=4, num_key_value_heads=2, use_sliding_window=True,
                                        sliding_window=3, max_window_layers=1, initializer_range=0.3)).eval()


@pytest.mark.parametrize("read", [EVERY, torch.tensor([7, 8, 10, 15])], ids=["every", "some"])
@pytest.mark.parametrize("build", [llama, gpt2, qwen2, windowed])
def test_equals_one_row_at_a_time(build, read):
    backbone = backbone_of(build().eval())
    before = backbone.config._attn_implementation
    assert can_pack(backbone)
    packed = token_states(backbone, *pad_right(ROWS), read)
    packed.square().sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in backbone.parameters()])
    backbone.zero_grad()
    alone = torch.cat([backbone(input_ids=torch.tensor([row])).last_hidden_state[0] for row in ROWS])[read]
    alone.square().sum().backward()
    torch.testing.assert_close(packed, alone, atol=2e-5, rtol=1e-4)
    expected = torch.cat([p.grad.flatten() for p in backbone.parameters()])
    torch.testing.assert_close(gradient, expected, atol=1e-3, rtol=1e-3)
    assert backbone.config._attn_implementation == before


@pytest.mark.parametrize("rows", [ROWS, [[5, 6, 7], [4, 2, 9], [9, 9, 2]]], ids=["packed", "of one length"])
def test_the_last_feed_forward_block_sees_what_is_read_alone(rows):
    backbone = backbone_of(llama())
    assert can_pack(backbone)
    counts = []
    hooks = [layer.mlp.up_proj.register_forward_hook(lambda module, args, out: counts.append(out.shape[:-1].numel()))
             for layer in backbone.layers]
    read = torch.tensor([2, 5, 6])
    states = token_states(backbone, *pad_right(rows), read)
    assert counts == [sum(map(len, rows)), 3]
    for hook in hooks:
        hook.remove()
    assert "forward" not in vars(backbone.layers[-1].mlp)
    alone = torch.cat([backbone(input_ids=torch.tensor([row])).last_hidden_state[0] for row in rows])[read]
    torch.testing.assert_close(states, alone, atol=2e-5, rtol=1e-4)


class Told(torch.nn.Module):
    """A feed-forward block whose states are handed on as `result` says."""

    def __init__(self, inner, result):
        super().__init__()
        self.inner, self.result = inner, result

    def forward(self, states):
        return self.result(self.inner(states))


def test_what_others_put_on_the_block_stays():
    """Hooks of accelerate, and kernels, stand on the instance in the place of its forward."""
    backbone, seen = backbone_of(llama()), []
    block = backbone.layers[-1].mlp
    plain = block.forward

    def watched(states):
        seen.append(states.shape[1])
        return plain(states)

    block.forward = watched
    assert can_pack(backbone)
    for _ in range(2):
        token_states(backbone, *pad_right(ROWS), torch.tensor([7, 15]))
    assert block.forward is watched and seen[-2:] == [2, 2]


def test_a_block_that_gives_more_than_states_computes_every_token():
    from types import SimpleNamespace

    backbone, seen = backbone_of(llama()), []
    layer = backbone.layers[-1]

    def with_router(states):
        seen.append(states.shape[-2])
        return SimpleNamespace(states=states)

    layer.mlp = Told(layer.mlp, with_router)
    read = torch.tensor([7, 15])
    with _last_feed_forward_on(read, backbone):
        output = layer.mlp(torch.ones(1, 16, 32))
    assert output.states.shape == (1, 16, 32) and seen == [2, 16]


def test_products_in_bfloat16_are_no_reason_to_pad():
    """Float32 weights whose products run in bfloat16 give float32 states that are right to three digits."""
    with torch.autocast("cpu", torch.bfloat16):
        assert can_pack(backbone_of(llama()))


def test_experts_are_packed_as_well():
    from transformers import MixtralConfig, MixtralModel

    torch.manual_seed(0)
    config = MixtralConfig(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                           num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, initializer_range=0.3)
    backbone = MixtralModel(config).eval()
    assert can_pack(backbone)
    read = torch.tensor([7, 8, 10, 15])
    alone = torch.cat([backbone(input_ids=torch.tensor([row])).last_hidden_state[0] for row in ROWS])[read]
    torch.testing.assert_close(token_states(backbone, *pad_right(ROWS), read), alone, atol=2e-5, rtol=1e-4)


def test_recurrent_models_fall_back_to_padding():
    from transformers import MambaConfig, MambaModel

    torch.manual_seed(0)
    backbone = MambaModel(MambaConfig(vocab_size=VOCAB, hidden_size=16, state_size=4, num_hidden_layers=1)).eval()
    assert not can_pack(backbone)
    states = token_states(backbone, *pad_right(ROWS), EVERY)
    alone = torch.cat([backbone(input_ids=torch.tensor([row])).last_hidden_state[0] for row in ROWS])
    torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-4)


def test_softcapped_attention():
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(0)
    backbone = Gemma2Model(Gemma2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                        num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                                        attn_logit_softcapping=0.5, initializer_range=0.3,
                                        attn_implementation="eager")).eval()
    assert not can_pack(backbone)
    states = token_states(backbone, *pad_right(ROWS), EVERY)
    alone = torch.cat([backbone(input_ids=torch.tensor([row])).last_hidden_state[0] for row in ROWS])
    torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-4)
