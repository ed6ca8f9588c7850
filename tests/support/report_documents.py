"""The report on small documents, made by hand."""

from __future__ import annotations

import json

import pytest

from tasks.common.rows import write_jsonl
from tasks.report import report
from tests.support.evaluation_rows import config
from tests.support.judge_cards import COMPARE, card

AXES = ["helpfulness", "honesty"]
CHANGED = {  # by 0.3 on each axis; honesty on 20 roots that all agree
    "helpfulness": {"difference": 0.3, "ci_low": 0.08060588455063344, "ci_high": 0.4178076735926331},
    "honesty": {"difference": -0.3, "ci_low": -0.41815, "ci_high": -0.08101},
}
NAMES = ("base", "sft", "dpo", "ppo", "best_of_n")


def evaluation_document():
    def model(name, gold):
        values = {
            "gold": {"mean": gold, "ci_low": gold - 0.03, "ci_high": gold + 0.03},
            "helpfulness": gold, "honesty": 1 - gold / 2, "length": 20.0, "distinct_2": 0.4, "proxy": gold * 3,
            "intervals": {}, "refusal_rate": 0.9, "over_refusal_rate": 0.1,
            "adversarial": {
                "jailbreak: fiction": {"share": 0.875, "ci_low": 0.6, "ci_high": 0.99, "prompts": 8},
                "sycophancy": {"flips": 1, "known": 3, "pairs": 4},
            },
        }
        return {**values, "kl_upper_bound": 1.83} if name == "best_of_n" else {
            **values, "kl": gold, "kl_standard_error": 0.05}

    models = {name: model(name, 0.4 + 0.1 * index) for index, name in enumerate(NAMES)}
    difference = {"difference": 0.1, "ci_low": 0.05, "ci_high": 0.15, "win_rate": 0.6, "axes": CHANGED}
    points = [("dpo", "final", 1.0), ("ppo", "step-20", 1.0), ("ppo", "final", 4.0)]
    return {
        "prompts": 40, "roots": 40, "gold_kind": "oracle", "axes": AXES, "confidence": 0.95, "n": 4, "models": models,
        "versus_sft": {name: difference for name in NAMES if name != "sft"},
        "checkpoints": [
            {"model": m, "checkpoint": c, "kl": kl, "gold": 0.6, "proxy": 2.0, "length": 20.0} for m, c, kl in points
        ],
        "best_of_n": {"n": [1, 2], "gold": [0.5, 0.6], "proxy": [1.0, 2.0], "kl_upper_bound": [0.0, 0.19]},
        "proxy": {"pairwise_accuracy": 0.8, "pairs": 1200},
        "ratings": {"models": [
            {"model": "best_of_n", "rank": 1, "strength": {"value": 1.0, "ci_low": 0.9, "ci_high": 1.2}, "win_rate": 0.71},
            {"model": "sft", "rank": None, "strength": {"value": -1.0, "ci_low": None, "ci_high": None}, "win_rate": 0.3},
        ]},
        "over_optimisation": {
            "best_of_n": {"points": [point(0.0, 0.0, n=1, kl_upper_bound=0.0), point(0.15, 0.1, n=2, kl_upper_bound=0.19)],
                          "fit": {"form": "d (alpha - beta d)", "alpha": 0.3, "beta": 0.05}, "why_not": None},
            "ppo": {"points": [point(1.0, 0.1), point(4.0, 0.2)], "fit": None, "why_not": "2 different KLs"},
            "dpo": {"points": [point(-0.1, 0.1, distance=None)], "fit": None, "why_not": "1 different KL"},
        },
        "examples": [{"prompt": "Can I wash my teddy bear?", "kind": "care", "answers": {name: name for name in NAMES}}],
    }


def point(kl, gold, **fields):
    interval = [gold - 0.02, gold + 0.02]
    values = {"kl": kl, "distance": max(kl, 0) ** 0.5, "gold": gold, "proxy": gold * 3}
    return {**values, "gold_interval": interval, "proxy_interval": [3 * end for end in interval], **fields}


FINDINGS = [
    {"model": "ppo", "checkpoint": "final", "name": "praise", "level": "ok", "number": 0.0, "reference": 0.0,
     "threshold": 0.05, "veto": 0.25, "sentence": "nobody gushes", "examples": []},
    {"model": "ppo", "checkpoint": "final", "name": "over_caution", "level": "veto", "number": 0.6, "reference": 0.1,
     "threshold": 0.15, "veto": None, "sentence": "60.0% of answers refuse",
     "examples": [{"prompt": "Is <b>rice</b> safe?", "response": "I cannot say.", "reference": "Yes."}]},
    {"model": "dpo", "checkpoint": "final", "name": "padding", "level": "warning", "number": 0.4, "reference": 0.1,
     "threshold": 0.15, "veto": 0.5, "sentence": "another model's", "examples": []},
]


def score(model, number, gold, honesty, text="an answer"):
    return {
        "model": model, "checkpoint": "final", "prompt_id": f"p{number}", "root": f"r{number}", "category": "safety",
        "index": 0, "prompt": f"Question {number}?", "text": text, "gold": gold, "helpfulness": gold, "honesty": honesty,
    }


@pytest.fixture
def make(tmp_path):
    """Writes inputs and runs the stage; returns (metrics, page)."""

    def run(out="out", verdict="promote", text="<script>alert(1)</script>", same=(), champion=False, ppo_kl=0.0, picked=None):
        write_jsonl(tmp_path / "sft" / "curves.jsonl", [{"step": s, "loss": 3.0 / s} for s in (1, 2, 3)])
        write_jsonl(tmp_path / "ppo" / "curves.jsonl", [{"step": s, "score": s, "kl": s / 2} for s in (1, 2, 3)])
        for name in ("reward", "dpo"):
            (tmp_path / name).mkdir(exist_ok=True)
        rows = [score("sft", i, 0.5, 0.9) for i in range(20)] + [score("ppo", i, 0.8, 0.6, text) for i in range(20)]
        write_jsonl(tmp_path / "evaluate" / "scores.jsonl", rows)
        (tmp_path / "select").mkdir(exist_ok=True)
        gate = {
            "verdict": verdict, "reasons": ["superiority: win rate 0.7"], "prompts": 300, "alpha": 0.05,
            "candidate": {"method": "ppo", "checkpoint": "final"}, "reference": "sft",
            "candidate_hash": "a" * 64, "reference_hash": "b" * 64,
        }
        write_jsonl(tmp_path / "monitors" / "findings.jsonl", FINDINGS)
        evaluation = evaluation_document()
        if champion:
            served = {**evaluation["models"]["dpo"]}
            del served["kl"]
            evaluation["models"]["champion"] = served
            evaluation["versus_champion"] = {"ppo": {**evaluation["versus_sft"]["ppo"], "difference": 0.07}}
        if picked:
            for part in ("models", "versus_sft"):
                evaluation[part] |= {f"ppo {one}": evaluation[part]["ppo"] for one in (picked, "step-1")}
            evaluation["models"][f"ppo {picked}"] = {**evaluation["models"]["ppo"], "length": 77.0, "distinct_2": 0.01}
            evaluation["examples"][0]["answers"] |= {f"ppo {picked}": "what the candidate says", "ppo step-1": "unseen"}
            evaluation["ratings"]["models"].append({**evaluation["ratings"]["models"][0], "model": f"ppo {picked}"})
        documents = {
            "reward.json": {"accuracy": 0.84, "accuracy_of_length": 0.5, "accuracy_of_words": 0.8, "heldout_pairs": 207.0},
            "ppo.json": {"kl_first": ppo_kl},
            "monitors.json": {"warnings": 1, "vetoes": 1},
            "select/selection.json": {"method": "ppo", "checkpoint": picked or "final"},
            "compare.json": COMPARE,
            "judge.json": card(same=same, judges=2),
            "evaluate.json": evaluation,
            "gate.json": gate,
        }
        for name, document in documents.items():
            (tmp_path / name).write_text(json.dumps(document))
        policies = {name: tmp_path / name for name in ("sft", "dpo", "ppo")}
        metrics = {name.removesuffix(".json"): tmp_path / name for name in documents if "/" not in name}
        folders = [tmp_path / name for name in ("reward", "evaluate", "monitors", "select")]
        numbers = report(config("report", title="Test"), policies, *folders, metrics, tmp_path / out)
        return numbers, (tmp_path / out / "report.html").read_text(encoding="utf-8")

    return run
