"""The compare stage on 40 prompts, with judges whose answers are known or with one behind a server."""

from __future__ import annotations

import pytest

from tasks import compare as stage
from tasks.common.rows import read_jsonl, write_jsonl
from tests.support.endpoints import NO_LIMIT
from tests.support.evaluation_rows import answer, config, prompt
from tests.support.judge_questions import longer_wins
from tests.support.judge_server import JudgeServer

TEXTS = ("one", "one two", "one two three", "one")  # the last is a duplicate of the first


def spec(name):
    """Settings of the judge that a known one stands in for."""
    return {"name": name, "kind": "oracle", "weights": {"honesty": 1.0}, "tie_margin": 0.0}


OFF = {"near_identical": None, "max_length_ratio": None, "min_rating_gap": None}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the stage on 40 prompts with TEXTS as samples and the given judges."""

    def run_stage(
        *judges, given="none", preferences=(), prompts=40, texts=TEXTS, cut=(), filters=(), budget=(), **changes
    ):
        rows = [prompt(i) for i in range(prompts)]
        samples = [answer(row, text, index) for row in rows for index, text in enumerate(texts)]
        samples = [{**sample, "finished": sample["response"] not in cut} for sample in samples]
        write_jsonl(tmp_path / "in" / "samples.jsonl", samples)
        write_jsonl(tmp_path / "prompts.jsonl", rows)
        write_jsonl(tmp_path / "preferences.jsonl", preferences)
        if judges:
            monkeypatch.setattr(stage, "make_pool", lambda specs, samples, date: list(judges))
            changes = {"judges": [spec(judge.name) for judge in judges], **changes}
        changes |= {"filters": {**OFF, **dict(filters)}, "budget": {**NO_LIMIT, **dict(budget)}}
        settings = {"strategy": "all", "pairs_per_prompt": 3, "heldout_fraction": 0.25, **changes}
        cfg = config("compare", given=given, **settings)
        out = tmp_path / "out"
        metrics = stage.compare(cfg, tmp_path / "in", tmp_path / "prompts.jsonl", tmp_path / "preferences.jsonl", out)
        names = ("train", "heldout", "battles", "ratings", "pairs")
        files = {name: read_jsonl(out / f"{name}.jsonl") for name in names}
        return metrics, files

    return run_stage


@pytest.fixture
def server(monkeypatch, tmp_path):
    with JudgeServer(longer_wins) as running:
        monkeypatch.setenv("PLUMB_JUDGE_URL", running.url)
        monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
        yield running
