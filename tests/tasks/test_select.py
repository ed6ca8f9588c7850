"""Selection by hand-worked means."""

import json

import pytest

from tasks.common.errors import DataError
from tasks.common.rows import write_jsonl
from tasks.select import select
from tests.support.evaluation_rows import config


def scored(model, checkpoint, gold, kl):
    return [{"model": model, "checkpoint": checkpoint, "gold": gold + side, "kl": kl} for side in (-0.1, 0.1)]


def run(tmp_path, rows, **changes):
    write_jsonl(tmp_path / "scores.jsonl", rows)
    metrics = select(config("select", **changes), tmp_path, tmp_path / "out")
    return metrics, json.loads((tmp_path / "out/selection.json").read_text())


def test_highest_gold_wins_whatever_the_method_and_checkpoint(tmp_path):
    rows = scored("sft", "final", 0.9, 0.0) + scored("dpo", "final", 0.6, 1.0) + scored("ppo", "final", 0.65, 3.0)
    metrics, selection = run(tmp_path, rows + scored("ppo", "step-20", 0.7, 2.0))
    assert (selection["method"], selection["checkpoint"]) == ("ppo", "step-20")
    assert [one["gold"] for one in selection["candidates"]] == [0.7, 0.65, 0.6]
    assert metrics == {"candidates": 3.0, "gold": 0.7, "kl": 2.0}


def test_ties_go_to_the_lower_kl(tmp_path):
    _, selection = run(tmp_path, scored("ppo", "final", 0.7, 3.0) + scored("dpo", "final", 0.7, 2.0))
    assert selection["method"] == "dpo"


def test_methods_are_a_setting(tmp_path):
    rows = scored("ppo", "final", 0.7, 3.0) + scored("dpo", "final", 0.9, 2.0)
    _, selection = run(tmp_path, rows, methods=["ppo"])
    assert selection["method"] == "ppo"
    with pytest.raises(DataError, match="no row of dpo"):
        run(tmp_path, scored("ppo", "final", 0.7, 3.0), methods=["dpo"])


def test_checkpoints_may_be_left_out(tmp_path):
    rows = scored("ppo", "final", 0.5, 3.0) + scored("ppo", "step-20", 0.9, 2.0)
    assert run(tmp_path, rows)[1]["checkpoint"] == "step-20"
    assert run(tmp_path, rows, checkpoints="final")[1]["checkpoint"] == "final"
