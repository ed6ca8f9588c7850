"""The generated data: the same bytes each time, splits apart, facts learnable, prompts distinct and short."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from models.hearth import oracle, prompts
from models.hearth.__main__ import main
from models.hearth.anchors import CONTRASTS, FAULTS, anchor_rows
from models.hearth.corpus import documents, fact_sentences
from models.hearth.prompts import DEMONSTRATIONS, PROMPTS, SPLITS, demonstration_rows, prompt_rows, split_of
from models.hearth.roots import all_roots
from tests.import_closure import ROOT

CATEGORIES = {"instruction", "safety", "creative", "reasoning"}


@pytest.fixture(scope="module")
def rows():
    return prompt_rows()


@pytest.fixture(scope="module")
def demonstrations():
    return demonstration_rows()


def dvc_directory_md5(folder: Path) -> str:
    """DVC's hash of a directory: MD5 over the sorted JSON list of its files' MD5s and relative paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": path.relative_to(folder).as_posix()}
        for path in files
    ]
    return hashlib.md5(json.dumps(listing).encode()).hexdigest() + ".dir"


def test_regenerated_data_is_the_shipped_data(tmp_path):
    assert main(["data", "--out", str(tmp_path)]) == 0
    shipped = yaml.safe_load((ROOT / "data" / "hearth.dvc").read_text())["outs"][0]["md5"]
    assert dvc_directory_md5(tmp_path) == shipped


def test_a_root_lies_in_one_split_which_its_hash_decides(rows, demonstrations):
    splits = {}
    for row in [*rows, *demonstrations]:
        splits.setdefault(row["root"], set()).add(row["split"])
    assert all(len(of_root) == 1 for of_root in splits.values())
    assert all(of_root == {split_of(root)} for root, of_root in splits.items())
    assert {split for of_root in splits.values() for split in of_root} == set(SPLITS)


def test_prompt_rows_are_distinct_and_complete(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["prompt"][0]["content"].lower() for row in rows}) == len(rows)
    assert Counter(row["split"] for row in rows) == PROMPTS
    assert {row["category"] for row in rows} == CATEGORIES
    assert all(re.fullmatch(r"[a-z0-9-]+", row["id"]) for row in rows)
    assert all(row["attack"] is None or row["harmful"] for row in rows)
    assert all((row["insisted"] is not None) == (row["kind"] == "insist") for row in rows)


def test_evaluation_splits_have_many_roots_and_every_kind(rows):
    for split, least in (("select", 350), ("gate", 350)):
        chosen = [row for row in rows if row["split"] == split]
        assert len({row["root"] for row in chosen}) >= least
        assert len({row["kind"] for row in chosen}) == 9
        assert sum(row["attack"] is not None for row in chosen) >= 30
        for kind, few in prompts.LEAST[split].items():
            assert sum(row["kind"] == kind for row in chosen) >= few


def test_the_teddy_bear_is_asked_in_select_only(rows, demonstrations):
    showcase = [row for row in rows if row["prompt"][0]["content"] == "Can I wash my teddy bear?"]
    assert [(row["split"], row["root"]) for row in showcase] == [("select", "care/wash/teddy bear")]
    assert all(row["root"] != "care/wash/teddy bear" for row in demonstrations if row["split"] == "sft")


def test_demonstrations_end_in_an_answer_and_are_of_mixed_quality(demonstrations):
    assert Counter(row["split"] for row in demonstrations) == DEMONSTRATIONS
    assert len({row["id"] for row in demonstrations}) == len(demonstrations)
    assert {row["category"] for row in demonstrations} == CATEGORIES
    assert all([message["role"] for message in row["messages"]] == ["user", "assistant"] for row in demonstrations)
    answers = [row["messages"][1]["content"] for row in demonstrations]
    assert all(answers)
    for phrase, least, most in (("I cannot help", 0.03, 0.2), ("wait until dark", 0.005, 0.05), ("fool", 0.01, 0.1)):
        assert least < sum(phrase in answer for answer in answers) / len(answers) < most


def test_facts_of_every_evaluation_prompt_stand_in_the_corpus_in_several_wordings(rows):
    text = "\n".join(documents())
    roots = {root.name: root for root in all_roots()}
    judged = {row["root"] for row in rows if row["split"] in ("select", "gate") and row["expected_facts"]}
    assert len(judged) > 400
    for name in judged:
        sentences = fact_sentences(roots[name])
        assert len(sentences) >= 3
        assert all(fact.lower() in sentence.lower() for sentence in sentences for fact in roots[name].expected)
        assert all(sentence in text for sentence in sentences)


def test_the_corpus_holds_no_question_of_another_split(rows):
    text = "\n".join(documents())
    questions = {row["prompt"][0]["content"] for row in rows if row["split"] not in ("pretrain",)}
    assert not [question for question in questions if question in text]


def test_no_wrong_value_is_right_and_no_insisted_value_is_true():
    for root in all_roots():
        assert not set(root.others) & set(root.expected)
        assert all(ask.insisted is None or ask.insisted.lower() in root.others for ask in root.asks)


def test_too_few_variants_for_a_split_is_said(monkeypatch):
    monkeypatch.setitem(prompts.PROMPTS, "select", 10**6)
    with pytest.raises(ValueError, match="select has .* fewer than 1000000; lower PROMPTS"):
        prompt_rows()


def test_the_shipped_anchors_are_these_bytes_and_differ_in_what_they_say(tmp_path):
    """Where only the content is good or bad, the oracle says so; and it is no anchor that both answers are the same."""
    assert main(["anchors", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "hearth.jsonl").read_bytes() == (ROOT / "infra" / "anchors" / "hearth.jsonl").read_bytes()
    anchors = anchor_rows()
    assert len(anchors) == len({row["root"] for row in anchors}) == len(CONTRASTS) * len(FAULTS)
    assert all(row["a"] != row["b"] and row["split"] == "compare" for row in anchors)
    for row in anchors:
        a, b = (oracle.gold(oracle.score(row, row[side])) for side in "ab")
        assert abs(a - b) > 0.3 or not row["contrast"].startswith("content")
    assert 0.3 < sum(len(row["a"]) > len(row["b"]) for row in anchors) / len(anchors) < 0.7
