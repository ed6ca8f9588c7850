"""The gold stage in both kinds, and loading what it wrote."""

import json

import pytest

from models.chat.template import encode_example
from models.lm.loading import weights_hash
from models.reward.scoring import score
from tasks.common.errors import ConfigError, DataError
from tasks.common.rows import write_jsonl
from tasks.gold import gold
from tasks.judge import judges_that_are_gold
from tasks.scoring.scorer import load_gold
from tests.support.evaluation_rows import PLAIN, WRONG, config, prompt
from tests.support.tiny_models import make_qwen2

TRAINING = {
    "epochs": 1.0, "batch_size": 8, "gradient_accumulation": 1, "learning_rate": 1e-3, "warmup_ratio": 0.0,
    "max_length": 96, "checkpoint_every": 100, "lora": None, "freeze_backbone": False, "centre": 0.0,
    "use_margin": False,
}


def pair(number):
    row = prompt(number)
    return {
        **{key: row[key] for key in ("id", "root", "category", "prompt")},
        "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }


def test_oracle(tmp_path):
    metrics = gold(config("gold"), tmp_path, tmp_path / "none", tmp_path / "gold", tmp_path)
    assert metrics == {"axes": 5.0}
    scorer = load_gold(tmp_path / "gold", tmp_path)
    right, wrong = scorer.score([prompt(0), prompt(0)], [PLAIN, WRONG])
    assert scorer.kind == "oracle" and right["gold"] > wrong["gold"]
    with pytest.raises(ValueError, match="unknown criteria beauty"):
        gold(config("gold", weights={"beauty": 1.0}), tmp_path, tmp_path, tmp_path / "bad", tmp_path)


def test_reward_model(tmp_path):
    model = make_qwen2(tmp_path / "model")
    write_jsonl(tmp_path / "preferences.jsonl", [pair(i) for i in range(40)])
    cfg = config("gold", kind="reward_model", weights={}, training=TRAINING)
    metrics = gold(cfg, model, tmp_path / "preferences.jsonl", tmp_path / "gold", tmp_path / "checkpoints")
    assert metrics["train_pairs"] + metrics["heldout_pairs"] == 40 and 0 <= metrics["heldout_accuracy"] <= 1
    assert json.loads((tmp_path / "gold/gold.json").read_text())["kind"] == "reward_model"
    scorer = load_gold(tmp_path / "gold", model)
    scored = scorer.score([prompt(0), prompt(1)], ["yes", "no"])
    assert scorer.axes == () and [set(row) for row in scored] == [{"gold"}, {"gold"}]
    assert scorer.score([], []) == []
    turns = [[*row["prompt"], {"role": "assistant", "content": text}] for row, text in ((prompt(0), "yes"), (prompt(1), "no"))]
    ids = [[*asked, *said] for asked, said in (encode_example(scorer.tokenizer, row) for row in turns)]
    assert [row["gold"] for row in scored] == pytest.approx(score(scorer.model, ids, 8).tolist(), rel=1e-4)
    assert scorer.values([prompt(0)] * 2, ["yes"] * 2)[0] == pytest.approx(scored[0]["gold"], rel=1e-4)


def test_a_copy_of_the_gold_model_is_known_by_its_weights(tmp_path):
    """By its hash, wherever it lies and whatever it is called; refused unless gold allows it, and then named."""
    model = make_qwen2(tmp_path / "model")
    write_jsonl(tmp_path / "preferences.jsonl", [pair(i) for i in range(40)])
    changes = {"kind": "reward_model", "weights": {}, "training": TRAINING}
    out = tmp_path / "gold"
    gold(config("gold", **changes), model, tmp_path / "preferences.jsonl", out, tmp_path / "checkpoints")
    copy = {"kind": "reward_model", "name": "rm", "sha256": weights_hash(out / "model"), "path": "elsewhere"}
    other = {**copy, "name": "other", "sha256": "0"}
    assert judges_that_are_gold(out, [other]) == []
    with pytest.raises(DataError, match="judge 'rm' of compare.judges and gold .kind reward_model. are the same judge"):
        judges_that_are_gold(out, [other, copy])
    document = json.loads((out / "gold.json").read_text())
    (out / "gold.json").write_text(json.dumps({**document, "allow_same_judge": True}))
    assert judges_that_are_gold(out, [other, copy]) == ["rm"]


def test_refusals(tmp_path):
    with pytest.raises(ConfigError, match="gold: kind is reward_model and training is null; give it the keys"):
        config("gold", kind="reward_model", weights={})
    write_jsonl(tmp_path / "one.jsonl", [pair(0)])
    cfg = config("gold", kind="reward_model", weights={}, training=TRAINING)
    with pytest.raises(DataError, match="fewer than two roots"):
        gold(cfg, tmp_path, tmp_path / "one.jsonl", tmp_path / "gold", tmp_path)
    with pytest.raises(DataError, match="run the gold stage first"):
        load_gold(tmp_path, tmp_path)
