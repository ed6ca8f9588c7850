"""The whole graph on two-layer models, in process: hearth with its oracle, and somebody's own comparisons with LoRA."""

import json
from pathlib import Path

import pytest
import yaml

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from tasks.__main__ import run_stage
from tasks.artifacts.entrants import entrant
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.runner import pipeline
from tests.support.small_project import hearth_project, small_params, write_project
from tests.support.tiny_models import make_qwen2

LORA = {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": "all-linear"}


def run_graph(folder: Path, monkeypatch) -> None:
    """Every stage in an order in which each finds its inputs."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLUMB_STATE", str(folder / "state"))
    graph, params = pipeline.load_pipeline(Path("dvc.yaml")), yaml.safe_load(Path("params.yaml").read_text())
    todo = pipeline.stage_names(graph)
    while todo:
        ready = [s for s in todo if all(p.exists() for p in pipeline.bind(graph, params, s).inputs.values())]
        assert ready, f"nothing can run of {todo}"
        for stage in ready:
            run_stage(stage)
            todo.remove(stage)


@pytest.fixture()
def own_project(tmp_path):
    """A Qwen2-shaped model with LoRA everywhere, on somebody's own preferences; gold is a reward model."""
    make_qwen2(tmp_path / "base")
    rows = [
        {"chosen": f"\n\nHuman: What is {i}?\n\nAssistant: It is {i}.", "rejected": f"\n\nHuman: What is {i}?\n\nAssistant: No."}
        for i in range(160)
    ]
    write_jsonl(tmp_path / "data" / "pairs.jsonl", rows)
    params = small_params()
    params["model"]["path"] = "base"
    params["data"] |= {
        "path": "data", "demonstrations": "pairs.jsonl", "prompts": None, "preferences": "pairs.jsonl",
        "splits": {"sft": 0.2, "compare": 0.0, "rl": 0.1, "select": 0.1, "gate": 0.1, "preferences": 0.3, "gold": 0.2},
    }
    params["compare"] |= {"given": "only", "judges": []}
    for stage in ("sft", "reward", "dpo", "ppo"):
        params[stage]["lora"] = LORA
    training = {key: value for key, value in params["reward"].items()}
    params["gold"] |= {"kind": "reward_model", "weights": {}, "training": {**training, "lora": None}}
    return write_project(tmp_path, params)


def test_hearth_on_a_gpt2_shaped_model(tmp_path, monkeypatch):
    run_graph(hearth_project(tmp_path), monkeypatch)
    document = json.loads(Path("metrics/evaluate.json").read_text())
    picked = json.loads(Path("artifacts/select/selection.json").read_text())
    candidate = entrant(picked["method"], picked["checkpoint"])
    assert {"base", "sft", "dpo", "ppo", "best_of_n", candidate} <= set(document["models"])
    for numbers in document["models"].values():
        assert numbers["gold"]["ci_low"] <= numbers["gold"]["mean"] <= numbers["gold"]["ci_high"]
        assert 0 <= numbers["helpfulness"] <= 1
    assert abs(document["models"]["sft"]["kl"]) < 1e-4
    assert json.loads(Path("metrics/gate.json").read_text())["verdict"] in ("promote", "reject", "underpowered")
    assert_package_is_whole(Path("artifacts/package"))
    assert_report_is_self_contained(Path("artifacts/report/report.html"))
    assert not list(Path("artifacts").rglob("*.partial"))
    assert not list(Path("state/checkpoints").iterdir())


def test_own_comparisons_with_lora_on_a_qwen2_shaped_model(own_project, monkeypatch):
    run_graph(own_project, monkeypatch)
    for stage in ("sft", "dpo", "ppo"):
        assert not list(Path("artifacts", stage).glob("*.safetensors")), "LoRA stages hand over adapters"
    given = read_jsonl(Path("artifacts/compare/train.jsonl"))
    assert given and all(row["source"] == "given" for row in given)
    document = json.loads(Path("metrics/evaluate.json").read_text())
    assert document["gold_kind"] == "reward_model"
    assert_package_is_whole(Path("artifacts/package"))
    assert_report_is_self_contained(Path("artifacts/report/report.html"))


def assert_package_is_whole(package: Path) -> None:
    """It loads without its base and answers as the selected policy does."""
    import torch

    selection = json.loads(Path("artifacts/select/selection.json").read_text())
    folder = Path("artifacts") / selection["method"]
    if selection["checkpoint"] != "final":
        folder = folder / "checkpoints" / selection["checkpoint"]
    ids = torch.tensor([[5, 6, 7]])
    packaged = load_policy(package)(ids).logits
    assert load_tokenizer(package).chat_template
    torch.testing.assert_close(packaged, load_policy(folder, Path("base"))(ids).logits)


def assert_report_is_self_contained(report: Path) -> None:
    text = report.read_text()
    assert "<html" in text and "http://" not in text.replace("http://www.w3.org", "") and "src=\"/" not in text
