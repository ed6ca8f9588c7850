"""The sampler against a slow loop without cache or batches, and its promises about randomness."""

import sys

import numpy as np
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from models.lm.batching import context_length
from models.sampling.sampler import SamplingSettings, check_prompts, next_tokens, sample, uniforms
from tests.support.rl_models import VOCAB, gpt2, llama, lora, prompts, qwen2

STOPS = frozenset({2, 3})
SETTINGS = SamplingSettings(temperature=0.9, max_new_tokens=12, seed=5)


def slow_sample(model, prompt_id, ids, index, settings, stop_ids):
    """One row, no cache, no padding: the definition."""
    draws = uniforms(settings.seed, prompt_id, index, settings.max_new_tokens)
    tokens, logprobs = list(ids), []
    for draw in draws:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        distribution = torch.log_softmax(logits / (settings.temperature or 1.0), -1)
        if settings.temperature == 0:
            token = int(distribution.argmax())
        else:
            token, total = 0, 0.0
            for token, p in enumerate(distribution.exp().double().tolist()):
                total += p
                if total > draw:
                    break
        tokens.append(token)
        logprobs.append(float(distribution[token]))
        if token in stop_ids:
            break
    return tuple(tokens[len(ids):]), logprobs


@pytest.mark.parametrize("build", [llama, gpt2, qwen2], ids=["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("temperature", [0.9, 0.0])
def test_equals_slow_loop(build, temperature):
    model = build().eval()
    settings = SamplingSettings(temperature, 12, 5)
    rows = prompts(6)
    samples = sample(model, rows, 2, settings, stop_ids=STOPS, rows_per_batch=5)
    assert [(s.prompt_id, s.index) for s in samples] == [(p, i) for p, _ in rows for i in range(2)]
    for s in samples:
        tokens, logprobs = slow_sample(model, s.prompt_id, s.prompt_ids, s.index, settings, STOPS)
        assert s.response_ids == tokens
        np.testing.assert_allclose(s.logprobs, logprobs, atol=2e-5)
        assert s.finished == (tokens[-1] in STOPS)
        assert not set(tokens[:-1]) & STOPS


def test_works_on_peft_model():
    model = lora(llama())
    samples = sample(model, prompts(3), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=2)
    plain = sample(llama(), prompts(3), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=2)
    # A fresh adapter changes nothing.
    assert [s.response_ids for s in samples] == [s.response_ids for s in plain]


def test_sliding_window_cache_is_left_alone():
    torch.manual_seed(0)
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, use_sliding_window=True, sliding_window=4,
                         max_window_layers=1, initializer_range=0.3)
    model = Qwen2ForCausalLM(config).eval()
    for s in sample(model, prompts(5), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=3):
        assert s.response_ids == slow_sample(model, s.prompt_id, s.prompt_ids, 0, SETTINGS, STOPS)[0]


def test_same_batches_same_bits():
    model = llama()
    first = sample(model, prompts(20), 2, SETTINGS, stop_ids=STOPS, rows_per_batch=8)
    assert first == sample(model, prompts(20), 2, SETTINGS, stop_ids=STOPS, rows_per_batch=8)


def test_other_batch_sizes_give_the_same_texts():
    model, rows = llama(), prompts(150)
    texts = [
        [s.response_ids for s in sample(model, rows, 4, SETTINGS, stop_ids=STOPS, rows_per_batch=size)]
        for size in (8, 64, 256)
    ]
    for other in texts[1:]:
        same = sum(a == b for a, b in zip(texts[0], other, strict=True))
        assert same >= 0.999 * len(texts[0])


def test_randomness_depends_on_prompt_id_index_and_seed_alone():
    model = llama()
    ids = [5, 6, 7]
    alone = sample(model, [("a", ids)], 3, SETTINGS, stop_ids=frozenset(), rows_per_batch=8)
    among = sample(model, [("b", ids), ("a", ids)], 3, SETTINGS, stop_ids=frozenset(), rows_per_batch=8)
    assert [s.response_ids for s in alone] == [s.response_ids for s in among[3:]]
    reseeded = sample(model, [("a", ids)], 3, SamplingSettings(0.9, 12, 6), stop_ids=frozenset(), rows_per_batch=8)
    everything = {s.response_ids for s in alone + among[:3] + reseeded}
    assert len(everything) == 9


def test_uniforms_extend_and_do_not_collide():
    np.testing.assert_array_equal(uniforms(1, "a", 0, 5), uniforms(1, "a", 0, 9)[:5])
    draws = np.stack([uniforms(s, p, i, 4) for s in (1, 11) for p in ("a", "1a", "") for i in (0, 1, 11)])
    assert len(np.unique(draws, axis=0)) == len(draws)
    assert 0 <= draws.min() and draws.max() < 1


def test_inverse_cdf_by_hand():
    logits = torch.tensor([[0.2, 0.5, 0.0, 0.3]]).log().repeat(5, 1)
    uniform = torch.tensor([0.0, 0.19, 0.21, 0.699, 1 - 2**-24])
    tokens, logprobs = next_tokens(logits, 1.0, uniform)
    assert tokens.tolist() == [0, 0, 1, 1, 3]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.2, 0.2, 0.5, 0.5, 0.3]))


def test_frequencies_follow_the_model():
    model = llama()
    drawn = sample(model, [("a", [5, 6])], 4000, SamplingSettings(1.0, 1, 0), stop_ids=frozenset(), rows_per_batch=4000)
    expected = torch.softmax(model(input_ids=torch.tensor([[5, 6]])).logits[0, -1], -1).detach()
    counts = torch.bincount(torch.tensor([s.response_ids[0] for s in drawn]), minlength=VOCAB) / 4000
    assert (counts - expected).abs().max() < 4 * 0.5 / 4000**0.5


def test_generation_config_is_not_consulted_and_training_flags_are_restored():
    model = gpt2()
    model.generation_config.update(top_k=1, temperature=0.01, repetition_penalty=9.0, max_length=3)
    model.train()
    model.transformer.h[0].eval()
    hostile = sample(model, prompts(4), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=4)
    assert model.training and not model.transformer.h[0].training and model.transformer.h[1].training
    assert hostile == sample(gpt2(), prompts(4), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=4)


def test_weight_update_leaves_no_stale_cache():
    model, other = llama(0), llama(3)
    sample(model, prompts(4), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=4)
    model.load_state_dict(other.state_dict())
    again = sample(model, prompts(4), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=4)
    assert again == sample(other, prompts(4), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=4)


def test_long_responses_outgrow_the_first_cache_block():
    model = llama()
    settings = SamplingSettings(1.0, 100, 0)
    (drawn,) = sample(model, [("a", [5, 6])], 1, settings, stop_ids=frozenset(), rows_per_batch=4)
    assert drawn.response_ids == slow_sample(model, "a", [5, 6], 0, settings, frozenset())[0]


def test_rows_that_wait_for_replacement_stay_within_the_context():
    model = gpt2().eval()
    rows = [("long", [5] * 116), *prompts(30)]  # 116 + 12 tokens fill the context of 128
    for s in sample(model, rows, 1, SETTINGS, stop_ids=STOPS, rows_per_batch=12):
        assert s.response_ids == slow_sample(model, s.prompt_id, s.prompt_ids, 0, SETTINGS, STOPS)[0]


def test_waiting_rows_take_the_place_of_finished_ones():
    model, calls = llama(), []
    model.register_forward_hook(lambda module, args, out: calls.append(len(out.logits)))
    drawn = sample(model, prompts(200), 1, SETTINGS, stop_ids=frozenset(range(2, 10)), rows_per_batch=20)
    assert max(calls) == 20
    assert sum(calls) < 1.3 * sum(len(s.response_ids) for s in drawn)  # few rows run on after their end
    in_fixed_batches = sum(max(len(s.response_ids) for s in drawn[i : i + 20]) for i in range(0, 200, 20))
    assert len(calls) < 0.75 * in_fixed_batches


def test_progress_is_reported():
    seen = []
    sample(llama(), prompts(5), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=2, on_batch=lambda *x: seen.append(x))
    assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(n=0), "n=0 samples"),
        (dict(settings=SamplingSettings(-1.0, 4, 0)), "temperature=-1.0"),
        (dict(settings=SamplingSettings(1.0, 0, 0)), "max_new_tokens=0"),
        (dict(prompts=[("x", [])]), "prompt 'x' has no tokens"),
        (dict(prompts=[("x", [5] * 120)]), "120 tokens.*context of 128.*shorten it to 116 tokens.*max_new_tokens to 8"),
        (dict(rows_per_batch=0), "rows_per_batch=0"),
    ],
)
def test_bad_input_is_named(changes, message):
    call = dict(prompts=prompts(2), n=1, settings=SETTINGS, rows_per_batch=4, **{})
    with pytest.raises(ValueError, match=message):
        sample(llama(), stop_ids=STOPS, **{**call, **changes})


def test_diverged_weights_are_named():
    model = llama()
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        sample(model, prompts(2), 1, SETTINGS, stop_ids=STOPS, rows_per_batch=4)


def test_the_context_is_the_text_models_own():
    """An adapter is looked through, a model of texts and images names its limit in its text's config, ALiBi has none."""
    assert context_length(lora(llama())) == 128
    text = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
            "num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0}
    both = LlavaForConditionalGeneration(LlavaConfig(text_config=LlamaConfig(**text), vision_config=CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, image_size=8, patch_size=4)))
    assert context_length(both) == 64
    with pytest.raises(ValueError, match="context of 64; shorten it to 54 tokens"):
        check_prompts(both, [("long", [5] * 60)], SamplingSettings(1.0, 10, 0))
    alibi = BloomForCausalLM(BloomConfig(vocab_size=40, hidden_size=32, n_layer=1, n_head=4))
    assert context_length(alibi) == sys.maxsize
