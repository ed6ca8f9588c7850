"""The sampler's backends: continuous batching and an endpoint for real, vLLM's requests on a stand-in."""

import asyncio
import json
import os
import subprocess
import sys
import time
import types
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from models.chat.template import decode_response, encode_prompt, load_tokenizer, stop_ids
from models.endpoints.retries import AskingSettings
from models.lm.loading import load_policy
from models.lm.logprobs import response_logprobs
from models.samplers import SAMPLER_KINDS, Prompt, make_sampler, with_logprobs
from models.samplers.base import as_sample, request_seed
from models.samplers.batched import BatchedSampler
from models.samplers.continuous import ContinuousSampler
from models.samplers.openai import KEY_VARIABLE, URL_VARIABLE, OpenAISampler
from models.samplers.vllm import VllmSampler
from models.sampling.sampler import Sample, SamplingSettings, sample
from tasks.common.errors import ConfigError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.config.generate import GenerateConfig
from tasks.config.shared import RuntimeConfig
from tasks.generate import generate
from tasks.runner.params import read_params, stage_config
from tests.import_closure import ROOT
from tests.support.http_server import Reply, serving
from tests.support.ports import closed_port, free_port
from tests.support.rl_models import gpt2, llama, prompts, qwen2
from tests.support.tiny_models import make_gpt2

STOPS = frozenset({2, 3})
SETTINGS = SamplingSettings(temperature=0.9, max_new_tokens=12, seed=5)
GREEDY = SamplingSettings(temperature=0.0, max_new_tokens=12, seed=5)


def asked(count):
    return [Prompt(name, [{"role": "user", "content": name}], tuple(ids)) for name, ids in prompts(count)]


def greedy_texts(model, rows):
    pairs = [(row.id, row.ids) for row in rows]
    return [s.response_ids for s in sample(model, pairs, 1, GREEDY, stop_ids=STOPS, rows_per_batch=8)]


# --- what the backends share ---


def test_an_engines_tokens_end_with_the_first_stop_token():
    prompt = Prompt("a", [], (5, 6))
    assert as_sample(prompt, 1, [7, 2, 9], STOPS, [-1.0, -2.0, -3.0]) == Sample(
        "a", 1, (5, 6), (7, 2), (-1.0, -2.0), finished=True
    )
    assert as_sample(prompt, 0, [7, 9], STOPS) == Sample("a", 0, (5, 6), (7, 9), None, finished=False)


def test_request_seeds_depend_on_seed_prompt_and_index():
    seeds = {request_seed(seed, prompt, index) for seed in (0, 1) for prompt in ("a", "b") for index in (0, 1)}
    assert len(seeds) == 8 and all(0 <= seed < 2**31 for seed in seeds)
    assert request_seed(1, "a", 0) == request_seed(1, "a", 0)


def test_missing_logprobs_are_computed_and_given_ones_kept():
    model = llama()
    drawn = BatchedSampler(model, STOPS, 4).sample(asked(4), 2, SETTINGS)
    without = [Sample(s.prompt_id, s.index, s.prompt_ids, s.response_ids, None, s.finished) for s in drawn[:5]]
    for s, filled in zip(drawn, with_logprobs(model, [*without, *drawn[5:]], 0.9, 4), strict=True):
        np.testing.assert_allclose(filled.logprobs, s.logprobs, atol=1e-4)
    assert with_logprobs(model, drawn, 0.9, 4) == drawn


def test_batched_is_the_sampler_itself():
    rows = asked(5)
    expected = sample(llama(), [(r.id, r.ids) for r in rows], 2, SETTINGS, stop_ids=STOPS, rows_per_batch=4)
    assert BatchedSampler(llama(), STOPS, 4).sample(rows, 2, SETTINGS) == expected


def test_an_unknown_kind_is_named(tmp_path):
    tokenizer = load_tokenizer(make_gpt2(tmp_path))
    with pytest.raises(ValueError, match="'magic' is unknown; known are batched, continuous"):
        make_sampler("magic", llama(), tokenizer, 4)
    for kind in ("batched", "continuous"):
        assert make_sampler(kind, llama(), tokenizer, 4).rows_per_batch == 4
    assert set(SAMPLER_KINDS) == set(GenerateConfig.model_fields["sampler"].annotation.__args__)


@pytest.mark.parametrize("values, message", [
    ({"sampler": "openai"}, "generate: sampler openai needs served_model"),
    ({"served_model": "m"}, "generate: served_model is for sampler openai; set it to null with sampler batched"),
    ({"sampler": "magic"}, "generate.sampler: .*'batched', 'continuous', 'vllm' or 'openai', found 'magic'"),
])  # fmt: skip
def test_params_that_disagree_about_the_sampler_are_named(values, message):
    params = read_params(ROOT / "params.yaml")
    params["generate"] |= values
    with pytest.raises(ConfigError, match=message):
        stage_config(params, "generate")


# --- transformers' continuous batching ---


@pytest.mark.parametrize("build", [llama, gpt2, qwen2], ids=["llama", "gpt2", "qwen2"])
def test_continuous_batching_samples_with_true_logprobs(build):
    model, seen = build().eval(), []
    model.generation_config.update(top_k=1, temperature=0.01, repetition_penalty=9.0)
    drawn = ContinuousSampler(model, STOPS, 4).sample(asked(6), 2, SETTINGS, lambda *done: seen.append(done))
    assert [(s.prompt_id, s.index) for s in drawn] == [(f"p{i}", j) for i in range(6) for j in range(2)]
    assert seen == [(12, 12)]
    scored = response_logprobs(model, [s.prompt_ids for s in drawn], [s.response_ids for s in drawn], 0.9)
    for s, expected in zip(drawn, scored.logprobs.tolist(), strict=True):
        np.testing.assert_allclose(s.logprobs, expected[: len(s.logprobs)], atol=1e-4)
        assert len(s.logprobs) == len(s.response_ids) <= 12
        assert s.finished == (s.response_ids[-1] in STOPS) and not set(s.response_ids[:-1]) & STOPS
    assert len({s.response_ids for s in drawn}) > 6


def test_continuous_batching_serves_no_stale_cache_after_a_weight_update():
    model, other, rows = llama(0), llama(3), asked(5)
    sampler = ContinuousSampler(model, STOPS, 4)
    before = [s.response_ids for s in sampler.sample(rows, 1, GREEDY)]
    assert before == greedy_texts(model, rows)
    model.load_state_dict(other.state_dict())
    after = [s.response_ids for s in sampler.sample(rows, 1, GREEDY)]
    assert after == greedy_texts(other, rows) != before


def test_continuous_batching_names_prompts_without_room_and_diverged_weights():
    model = llama()
    with pytest.raises(ValueError, match="120 tokens.*context of 128"):
        ContinuousSampler(model, STOPS, 4).sample([Prompt("x", [], (5,) * 120)], 1, SETTINGS)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises((FloatingPointError, RuntimeError), match="not finite|0 of 2 responses"):
        ContinuousSampler(model, STOPS, 4).sample(asked(2), 1, GREEDY)


# --- vLLM ---


def test_vllm_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match="sampler vllm needs vLLM.*set generate.sampler"):
        VllmSampler(llama(), STOPS, 4)


def test_vllm_gets_the_present_weights_and_a_seed_per_row(monkeypatch):
    engines = []

    class LLM:
        def __init__(self, model, **options):
            self.weights, self.options = load_policy(Path(model)), options
            engines.append(self)

        def generate(self, inputs, asked, use_tqdm):
            self.asked = asked
            drawn = [types.SimpleNamespace(token_ids=[*row["prompt_token_ids"][:1], 2]) for row in inputs]
            return [types.SimpleNamespace(outputs=[row]) for row in drawn]

    fake = types.SimpleNamespace(LLM=LLM, SamplingParams=lambda **options: options)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    model, rows = llama(0), asked(3)
    sampler = VllmSampler(model, STOPS, 4)
    drawn = sampler.sample(rows, 2, SETTINGS)
    assert [(s.prompt_id, s.index) for s in drawn] == [(f"p{i}", j) for i in range(3) for j in range(2)]
    assert all(s.logprobs is None and s.finished for s in drawn)
    assert drawn[2].response_ids == (rows[1].ids[0], 2)
    assert len({request["seed"] for request in engines[0].asked}) == 6
    assert engines[0].options["max_num_seqs"] == 4 and engines[0].options["dtype"] == "float32"
    model.load_state_dict(llama(3).state_dict())
    sampler.sample(rows, 1, SETTINGS)
    torch.testing.assert_close(engines[1].weights.lm_head.weight, llama(3).lm_head.weight)


# --- endpoints ---


def wait_for(url, server, seconds=300):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(url, timeout=1)
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, f"no server at {url}"
            time.sleep(0.25)


def make_writer_of_letters(folder):
    """A tiny GPT-2 whose most likely tokens are all text; those of half a character come back changed from a server."""
    tokenizer, model = load_tokenizer(make_gpt2(folder)), load_policy(folder)
    text = torch.tensor([tokenizer.decode([token]).isalnum() for token in range(model.config.vocab_size)])
    with torch.no_grad():
        model.transformer.wte.weight *= 20 * text[:, None]
    model.generation_config.do_sample = True  # `transformers serve` is greedy otherwise
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A tiny model behind `transformers serve`: (its directory, the endpoint's address)."""
    folder, port = make_writer_of_letters(tmp_path_factory.mktemp("served")), free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--device", "cpu", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://localhost:{port}/health", server)
        yield folder, f"http://localhost:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


def test_a_served_model_answers_as_the_model_here(served, monkeypatch):
    folder, url = served
    monkeypatch.setenv(URL_VARIABLE, url)
    tokenizer, model = load_tokenizer(folder), load_policy(folder)
    texts = "Can I wash my teddy bear?", "What is two plus three?"
    messages = [[{"role": "user", "content": text}] for text in texts]
    rows = [Prompt(f"p{i}", m, tuple(encode_prompt(tokenizer, m))) for i, m in enumerate(messages)]
    served_samples = OpenAISampler(str(folder), tokenizer, 2).sample(rows, 1, GREEDY)
    own = make_sampler("batched", model, tokenizer, 4).sample(rows, 1, GREEDY)
    texts = [decode_response(tokenizer, s.response_ids) for s in served_samples]
    assert texts == [decode_response(tokenizer, s.response_ids) for s in own] and all(texts)
    assert all(s.logprobs is None for s in served_samples)
    assert [s.prompt_ids for s in served_samples] == [row.ids for row in rows]


def test_generate_takes_its_answers_from_an_endpoint(served, monkeypatch, tmp_path):
    folder, url = served
    monkeypatch.setenv(URL_VARIABLE, url)
    prompts_file = tmp_path / "prompts.jsonl"
    write_jsonl(prompts_file, [{"id": f"p{i}", "root": f"r{i}", "category": "instruction",
                                "prompt": [{"role": "user", "content": f"Say {i}"}]} for i in range(2)])
    cfg = GenerateConfig(
        runtime=RuntimeConfig(seed=0, threads=1, dtype="float32", date="2026-01-01"), samples_per_prompt=2, temperatures=(0.7, 1.0),
        max_new_tokens=8, rows_per_batch=2, sampler="openai", served_model=str(folder),
    )
    (tmp_path / "out").mkdir()
    metrics = generate(cfg, folder, folder, prompts_file, tmp_path / "out")
    rows = read_jsonl(tmp_path / "out" / "samples.jsonl")
    assert metrics["samples"] == 4 and [row["id"] for row in rows] == ["p0#0", "p0#1", "p1#0", "p1#1"]
    assert {row["policy"] for row in rows} == {str(folder)} and all(row["logprob"] < 0 for row in rows)


@pytest.mark.parametrize("sampler", ["batched", "continuous"])
def test_each_temperature_has_draws_of_its_own(sampler, tmp_path):
    """At equal temperatures, equal numbers would give every text twice; 24 tokens of a random model never repeat."""
    folder = make_gpt2(tmp_path / "base")
    row = {"id": "p", "root": "r", "category": "instruction", "prompt": [{"role": "user", "content": "Say it"}]}
    write_jsonl(tmp_path / "prompts.jsonl", [row])
    cfg = GenerateConfig(
        runtime=RuntimeConfig(seed=0, threads=1, dtype="float32", date="2026-01-01"), samples_per_prompt=6,
        temperatures=(1.0, 1.0, 1.0), max_new_tokens=24, rows_per_batch=6, sampler=sampler, served_model=None,
    )
    outs = [tmp_path / "out", tmp_path / "again"]
    for out in outs:
        out.mkdir()
        metrics = generate(cfg, folder, folder, tmp_path / "prompts.jsonl", out)
        assert metrics["samples"] == 6 and metrics["distinct"] == 1.0
    first, again = ([row["response"] for row in read_jsonl(out / "samples.jsonl")] for out in outs)
    assert sampler != "batched" or first == again


@pytest.fixture()
def stand_in(monkeypatch, tmp_path):
    """An endpoint that gives what the test lays in `replies`, and notes what it was asked in `requests`."""
    endpoint = types.SimpleNamespace(replies=[], requests=[], tokenizer=load_tokenizer(make_gpt2(tmp_path)))

    def reply(request):
        endpoint.requests.append(json.loads(request.body))
        status, body, *headers = endpoint.replies.pop(0)
        return Reply(status, json.dumps(body).encode(), {**dict(headers), "Content-Type": "application/json"})

    with serving(reply) as url:
        monkeypatch.setenv(URL_VARIABLE, f"{url}/v1")
        monkeypatch.setenv(KEY_VARIABLE, "secret")
        yield endpoint


def completion(text, reason):
    message = {"role": "assistant", "content": text}
    return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m",
                 "choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def test_an_answer_ends_as_the_server_says_and_is_no_longer_than_asked_for(stand_in):
    stand_in.replies += [completion("Yes.", "stop"), completion("Yes", "length"), completion("a" * 40, "stop")]
    seen = []
    drawn = OpenAISampler("m", stand_in.tokenizer, 1).sample(asked(3), 1, SETTINGS, lambda *done: seen.append(done))
    assert [s.finished for s in drawn] == [True, False, False]
    assert drawn[0].response_ids[-1] in stop_ids(stand_in.tokenizer)
    assert decode_response(stand_in.tokenizer, drawn[0].response_ids) == "Yes."
    assert len(drawn[2].response_ids) == 12 and seen == [(1, 3), (2, 3), (3, 3)]
    first = stand_in.requests[0]
    assert first["messages"] == [{"role": "user", "content": "p0"}] and first["seed"] == request_seed(5, "p0", 0)
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("m", 0.9, 12)


ONCE = AskingSettings(attempts=1, first_wait=0.01, longest_wait=0.01, patience=0.01)


@pytest.mark.parametrize("status, error", [(503, ConnectionError), (429, ConnectionError), (500, ConnectionError),
                                           (401, ValueError), (400, ValueError)])
def test_a_refusal_is_named_and_a_server_in_trouble_may_recover(stand_in, status, error):
    stand_in.replies += [(status, {"error": {"message": "no luck"}})] * 9
    with pytest.raises(error, match=f"{status}.*no luck"):
        OpenAISampler("m", stand_in.tokenizer, 1, ONCE).sample(asked(1), 1, SETTINGS)


def test_the_sampler_waits_and_asks_again_as_judges_do(stand_in, capsys):
    """However long the server asks it to wait, up to the patience; refused fields are left out."""
    busy, unknown = {"error": {"message": "slow down"}}, {"detail": [{"loc": ["body", "seed"], "msg": "extra"}]}
    stand_in.replies += [(429, busy, ("Retry-After", "0.2")), (503, busy), (500, busy),
                         (200, {"error": {"code": 429, "message": "later"}}), (422, unknown), completion("Yes.", "stop")]
    settings, began = AskingSettings(attempts=2, first_wait=0.01, longest_wait=0.02, patience=60.0), time.monotonic()
    (drawn,) = OpenAISampler("m", stand_in.tokenizer, 4, settings).sample(asked(1), 1, SETTINGS)
    assert decode_response(stand_in.tokenizer, drawn.response_ids) == "Yes." and time.monotonic() - began >= 0.2
    assert ["seed" in request for request in stand_in.requests] == [True] * 5 + [False]
    assert "sampler openai: its server refuses seed; it is asked without it" in capsys.readouterr().out
    stand_in.replies.append((429, busy, ("Retry-After", "300")))
    with pytest.raises(ConnectionError, match="slow down.*asked 1 times"):
        OpenAISampler("m", stand_in.tokenizer, 1, settings).sample(asked(1), 1, SETTINGS)


def test_what_is_no_answer_between_answers_is_asked_again(stand_in):
    """A page, a message without choices, and answers that the server broke off."""
    stand_in.replies += [completion("Yes.", "stop"), (200, {"object": "page"}), completion("Ye", "error"),
                         completion("", "insufficient_system_resource"), completion("Yes.", "stop")]
    settings = AskingSettings(attempts=4, first_wait=0.01, longest_wait=0.02)
    drawn = OpenAISampler("m", stand_in.tokenizer, 1, settings).sample(asked(2), 1, SETTINGS)
    assert [decode_response(stand_in.tokenizer, one.response_ids) for one in drawn] == ["Yes.", "Yes."]


def test_an_answer_that_was_filtered_is_left_out(stand_in, capsys):
    stand_in.replies += [completion("Yes.", "stop"), completion("Ye", "content_filter")]
    assert len(OpenAISampler("m", stand_in.tokenizer, 1, SHARE).sample(asked(2), 1, SETTINGS)) == 1
    assert "left out an answer to prompt 'p1': sampler openai: http" in (out := capsys.readouterr().out)
    assert "filtered its answer" in out


def test_a_pause_of_more_than_two_minutes_is_waited_for(stand_in, monkeypatch):
    """Ten minutes, on a clock that is quick: OpenAI's client does not ask again then."""
    slept, sleep = [], asyncio.sleep

    async def quick(seconds, result=None):
        slept.append(seconds)
        await sleep(0)
        return result

    monkeypatch.setattr(asyncio, "sleep", quick)
    stand_in.replies += [(429, {"error": "full"}, ("Retry-After", "600")), completion("Yes.", "stop")]
    drawn = make_sampler("openai", None, stand_in.tokenizer, 1, "m").sample(asked(1), 1, SETTINGS)
    assert len(drawn) == 1 and 600 <= max(slept) <= 660


FILTERED = (400, {"error": {"message": "The prompt was filtered", "code": "content_filter"}})
SHARE = AskingSettings(attempts=2, first_wait=0.01, longest_wait=0.01, patience=1.0, failed_share=0.1)


@pytest.mark.parametrize("refusals", [[FILTERED], [(413, {"error": "too large"})], [(500, {"error": "boom"})] * 2])
@pytest.mark.parametrize("first", [True, False])
def test_a_prompt_that_is_refused_for_good_is_left_out_and_shown(stand_in, capsys, refusals, first):
    """Where it is the first of all, a harmless one is asked to see whether anything is answered."""
    good = completion("Yes.", "stop")
    stand_in.replies += [*refusals, good, good, good] if first else [good, *refusals, good]
    sampler = OpenAISampler("m", stand_in.tokenizer, 1, SHARE)
    drawn = sampler.sample(asked(3), 1, SETTINGS)
    assert [one.prompt_id for one in drawn] == (["p1", "p2"] if first else ["p0", "p2"]) and not stand_in.replies
    words = capsys.readouterr().out
    assert words.count("\n") == len(sampler.failures) == 1
    assert words.startswith(f"sampler openai left out an answer to prompt '{'p0' if first else 'p1'}': ")


def test_more_than_the_share_ends_the_run_in_the_endpoints_words(stand_in):
    """3 and a tenth of all 20 may be missing; of these, 5 are allowed and the sixth is one too many."""
    stand_in.replies += [completion("Yes.", "stop"), *[FILTERED] * 6]
    with pytest.raises(ValueError, match="The prompt was filtered.*6 of 20 answers are missing, more than 3 and 0.1 of"):
        OpenAISampler("m", stand_in.tokenizer, 1, SHARE).sample(asked(20), 1, SETTINGS)
    assert len(stand_in.requests) == 7


def test_a_server_that_refuses_every_prompt_is_named(stand_in):
    """It answers a harmless one only."""
    stand_in.replies += [FILTERED, completion("Good morning.", "stop"), FILTERED]
    with pytest.raises(ValueError, match="The prompt was filtered.*no prompt was answered"):
        OpenAISampler("m", stand_in.tokenizer, 1, SHARE).sample(asked(2), 1, SETTINGS)


def test_generate_counts_what_is_left_out(stand_in, tmp_path):
    """Of two prompts in two answers each the second answer to the second is refused."""
    turns = [{"role": "user", "content": "Say"}]
    rows = [{"id": name, "root": name, "category": "c", "prompt": turns} for name in "ab"]
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    stand_in.replies += [completion(text, "stop") for text in ("One.", "Two.", "Three.")] + [FILTERED]
    cfg = GenerateConfig(
        runtime=RuntimeConfig(seed=0, threads=1, dtype="float32", date="2026-01-01"), samples_per_prompt=2,
        temperatures=(1.0,), max_new_tokens=12, rows_per_batch=1, sampler="openai", served_model="m",
    )
    metrics = generate(cfg, tmp_path, tmp_path, tmp_path / "prompts.jsonl", tmp_path)
    assert (metrics["samples"], metrics["left_out"]) == (3, 1)
    assert [row["id"] for row in read_jsonl(tmp_path / "samples.jsonl")] == ["a#0", "a#1", "b#0"]


def test_what_is_no_completion_names_the_address(stand_in):
    stand_in.replies.append((200, {"hello": "world"}))
    with pytest.raises(ValueError, match=f"no completion, but with .*hello.*correct the address in {URL_VARIABLE}"):
        OpenAISampler("m", stand_in.tokenizer, 1).sample(asked(1), 1, SETTINGS)


def test_an_endpoint_that_is_not_there_is_named(stand_in, monkeypatch):
    with closed_port() as port, pytest.raises(ConnectionError, match=URL_VARIABLE):
        monkeypatch.setenv(URL_VARIABLE, f"http://127.0.0.1:{port}/v1")
        OpenAISampler("m", stand_in.tokenizer, 1, ONCE).sample(asked(1), 1, SETTINGS)
    monkeypatch.delenv(URL_VARIABLE)
    with pytest.raises(ValueError, match=f"set the variable {URL_VARIABLE}, which is empty"):
        OpenAISampler("m", stand_in.tokenizer, 1)
    with pytest.raises(ValueError, match="set generate.served_model"):
        OpenAISampler(None, stand_in.tokenizer, 1)
