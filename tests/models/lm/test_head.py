"""Log-probs made chunk by chunk are those of whole logits, and so are their gradients; memory keeps to the budget."""

import pytest
import torch

from models.lm import head
from models.lm.batching import backbone_of, hidden_states, unwrapped
from models.lm.head import head_is_plain, set_logits_budget
from models.lm.logprobs import response_logprobs
from models.lm.precision import products_in
from models.lm.token_scores import token_scores
from tests.support.memory import peak_bytes
from tests.support.rl_models import VOCAB, cohere, gpt2, llama, lora
from tests.support.tiny_architectures import build

IDS = torch.randint(0, VOCAB, (3, 9), generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, VOCAB, (27,), generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.randn(27, generator=torch.Generator().manual_seed(2))


def with_bias():
    model = llama()
    model.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, VOCAB))
    return model


def with_adapted_head():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(llama(tie_word_embeddings=False),
                          LoraConfig(r=4, target_modules=["q_proj", "lm_head"], init_lora_weights=False))


def capped():
    return build("Gemma2ForCausalLM")


def scaled():
    return build("GraniteForCausalLM")


def experts():
    """Its class looks for routers' logits in what the backbone gives."""
    return build("GraniteMoeHybridForCausalLM", logits_scaling=4.0)


MODELS = [llama, lambda: llama(tie_word_embeddings=True), lambda: gpt2().eval(), lambda: lora(llama()), with_bias,
          with_adapted_head, cohere, capped, scaled, experts]
NAMES = ["untied", "tied", "gpt2", "lora", "bias", "adapted head", "cohere", "capped", "scaled", "experts"]


@pytest.fixture(autouse=True)
def budget(monkeypatch):
    monkeypatch.setattr(head, "_budget", head._budget)


def hold_rows(model, rows):
    vocabulary = unwrapped(model).get_output_embeddings().weight.shape[0]
    set_logits_budget(rows * vocabulary * 8 / 2**20)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("rows", [1000, 27, 8, 1])
@pytest.mark.parametrize("build", MODELS, ids=NAMES)
def test_chunks_give_what_whole_logits_give(build, rows):
    model = build()
    hold_rows(model, rows)
    scores = token_scores(model, hidden_states(backbone_of(model), IDS).flatten(0, 1), TARGETS, 0.7, statistics=True)
    (scores.logprobs * WEIGHTS).sum().backward()
    ours = gradients(model)
    model.zero_grad()
    logits = unwrapped(model)(input_ids=IDS, use_cache=False).logits.flatten(0, 1) / 0.7
    distribution = logits.log_softmax(-1)
    logprobs = distribution.gather(1, TARGETS[:, None]).squeeze(1)
    (logprobs * WEIGHTS).sum().backward()
    torch.testing.assert_close(scores.logprobs, logprobs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.entropy, -(distribution.exp() * distribution).sum(-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.mean_logits, logits.mean(-1), atol=1e-5, rtol=1e-5)
    assert torch.equal(scores.top, logits.argmax(-1) == TARGETS)
    torch.testing.assert_close(ours, gradients(model), atol=1e-4, rtol=1e-4)
    assert not any(score.requires_grad for score in scores[1:])


def test_it_is_known_which_heads_are_plain():
    plain = [head_is_plain(build()) for build in MODELS]
    assert plain == [True] * 6 + [False] * 4


@pytest.mark.parametrize("rows", [1000, 8])
@pytest.mark.parametrize("build", [llama, capped], ids=["plain", "capped"])
def test_products_in_bfloat16_come_near_and_leave_no_autocast_behind(build, rows):
    model = build()
    hold_rows(model, rows)
    states = hidden_states(backbone_of(model), IDS).flatten(0, 1).detach().requires_grad_()
    exact, = torch.autograd.grad(token_scores(model, states, TARGETS).logprobs.sum(), states)
    entropy = token_scores(model, states, TARGETS, statistics=True).entropy
    with products_in(torch.bfloat16, torch.device("cpu")):
        rounded = token_scores(model, states, TARGETS).logprobs
        near = token_scores(model, states, TARGETS, statistics=True).entropy
    assert near.dtype == torch.float32 and float((near - entropy).abs().max()) < 0.02
    assert not torch.is_autocast_enabled("cpu")
    gradient, = torch.autograd.grad(rounded.sum(), states)
    assert not torch.is_autocast_enabled("cpu")
    assert 0 < float((gradient - exact).norm() / exact.norm()) < 0.05


def test_a_probed_head_leaves_no_autocast_behind_in_a_trainer():
    """accelerate puts an autocast of its own around a model's forward; entered twice, it would stay on."""
    model = capped()
    inner = model.forward
    model.forward = torch.autocast("cpu", torch.bfloat16)(
        lambda ids: token_scores(model, hidden_states(backbone_of(model), ids).flatten(0, 1), TARGETS).logprobs)
    assert torch.isfinite(model.forward(IDS)).all()
    assert not torch.is_autocast_enabled("cpu")
    model.forward = inner


def test_no_tokens_have_no_scores():
    model = llama()
    states = torch.zeros(0, 32, requires_grad=True)
    scores = token_scores(model, states, torch.zeros(0, dtype=torch.long), statistics=True)
    assert [len(score) for score in scores] == [0, 0, 0, 0]
    scores.logprobs.sum().backward()
    assert states.grad.shape == (0, 32)


def test_a_budget_for_less_than_one_row_is_refused():
    model = llama(vocab_size=1_000_000, hidden_size=8, num_attention_heads=1, num_key_value_heads=1)
    set_logits_budget(7.5)
    with pytest.raises(ValueError, match="7.5 MiB hold no row of the logits of 1000000 tokens; raise"
                                         " runtime.logits_mb to 8 or more"):
        response_logprobs(model, [[5]], [[4]], 1.0)


@pytest.mark.parametrize("build", [llama, cohere], ids=["plain", "scaled"])
def test_memory_is_flat_in_length_and_vocabulary(build):
    """Beside weights and their gradients: of 300 and 1,200 tokens, of 20 and 80 thousand entries, alike."""
    set_logits_budget(8)

    def peak(tokens, vocabulary):
        model = _with_vocabulary(build(), vocabulary)
        states = torch.randn(tokens, 32, requires_grad=True)
        targets = torch.zeros(tokens, dtype=torch.long)
        token_scores(model, states[:4], targets[:4]).logprobs.sum().backward()  # finds out about the head
        weights = 3 * 4 * 32 * vocabulary  # the gradient, what adds to it, and one more where autograd makes it
        return peak_bytes(lambda: token_scores(model, states, targets).logprobs.sum().backward()) - weights

    peaks = [peak(tokens, vocabulary) for tokens in (300, 1200) for vocabulary in (20_000, 80_000)]
    assert max(peaks) < 20 * 2**20  # whole logits of the largest: 366 MiB, and as much for their softmax


def _with_vocabulary(model, size):
    model.resize_token_embeddings(size, mean_resizing=False)
    return model
