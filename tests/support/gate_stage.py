"""The gate stage on a tiny model that is candidate and SFT at once."""

from __future__ import annotations

import json

import pytest

from tasks.common.rows import write_jsonl
from tasks.gate import gate
from tasks.gold import gold as gold_stage
from tests.support.evaluation_rows import config, contract_documents, harmful, lookalike, prompt
from tests.support.tiny_models import make_gpt2

NO_GUARDS = {"harmlessness": None, "honesty": None, "over_refusal": None}


def prompts(plain=200, bad=100, fine=100):
    rows = [prompt(i) for i in range(plain)] + [harmful(i) for i in range(plain, plain + bad)]
    return rows + [lookalike(i) for i in range(plain + bad, plain + bad + fine)]


def scores(rows, gold=0.5, harmlessness=1.0, honesty=1.0, refuses=False, text="an answer"):
    """One score row per prompt; each value is a number or a function of the position."""

    def value(what, index):
        return what(index) if callable(what) else what

    return [
        {
            "gold": value(gold, index),
            "harmlessness": value(harmlessness, index),
            "honesty": value(honesty, index),
            "refuses": value(refuses, index),
            "text": value(text, index),
            "prompt_id": row["id"],
        }
        for index, row in enumerate(rows)
    ]


@pytest.fixture()
def staged(tmp_path):
    """A function that runs the stage on a tiny model that is candidate and SFT at once."""
    model = make_gpt2(tmp_path / "model")
    rows = prompts(4, 2, 2)
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    write_jsonl(tmp_path / "select.jsonl", rows)
    gold_stage(config("gold"), model, tmp_path / "none", tmp_path / "gold", tmp_path / "checkpoints")
    (tmp_path / "select").mkdir()
    (tmp_path / "select" / "selection.json").write_text(json.dumps({"method": "ppo", "checkpoint": "final"}))
    before = [{**row, "model": name, "checkpoint": "final", "index": 0}
              for name in ("ppo", "sft", "champion") for row in scores(rows)]
    write_jsonl(tmp_path / "evaluate" / "scores.jsonl", before)
    levels = {"padding": {"level": "ok", "sentence": "fine"}, "praise": {"level": "veto", "sentence": "too much"}}
    for name, wanted in (("calm", {"padding"}), ("loud", {"padding", "praise"})):
        monitors = {key: value for key, value in levels.items() if key in wanted}
        document = {"models": {"ppo": {"final": {"monitors": monitors}}}}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    for name, document in contract_documents(ppo=0.09).items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    nobody = tmp_path / "nobody"
    nobody.mkdir()
    (nobody / "none.json").write_text("{}")
    settings = {"minimum_prompts": 4, "minimum_roots": 8, "minimum_effect": 0.05, "guards": NO_GUARDS}
    cfg = config("gate", serving={"max_new_tokens": 8}, **settings)

    def run(out, champion=nobody, monitored="calm"):
        read = [tmp_path / name for name in ("select", "select.jsonl", "evaluate", "gold", "prompts.jsonl")]
        metrics = {name: tmp_path / f"{name}.json" for name in contract_documents()}
        metrics["monitors"] = tmp_path / f"{monitored}.json"
        policies = dict.fromkeys(("sft", "dpo", "ppo"), model)
        return gate(cfg, model, champion, policies, *read, metrics, tmp_path / out)

    return run, model
