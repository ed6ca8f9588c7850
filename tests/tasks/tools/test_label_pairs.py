"""Pairs written for people: what comes back has what a verdict needs, and meets the pairs that are judged."""

import csv
import hashlib
import json
import shutil

import pytest
import yaml

from models.judges.human import read_verdicts
from models.judges.verdict_form import VerdictForm
from tasks import compare as stage
from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.tools.__main__ import main
from tasks.tools.label_pairs import document, label_pairs, write_pairs
from tests.support.evaluation_rows import PARAMS, answer, config, project_params, prompt

TEXTS = ("one", 'two;\n"three", four', "- five\n- six", "=one()", "one")
PROMPTS = [prompt(i) for i in range(30)]
SAMPLES = [answer(row, text, index) for row in PROMPTS for index, text in enumerate(TEXTS)]
FILTERS = {"near_identical": None, "max_length_ratio": None, "min_rating_gap": None}
RANDOM = {"strategy": "random", "filters": FILTERS, "pairs_per_prompt": 2}


def test_the_pairs_are_those_that_compare_judges(tmp_path):
    """People answer all of them, and the stage asks about no other pair: none lacks an answer."""
    rows = label_pairs(config("compare", **RANDOM), SAMPLES, PROMPTS, [])
    assert len(rows) == 2 * len(PROMPTS)
    shown_first = sum(row["first"] < row["second"] for row in rows)
    assert 15 < shown_first < 45, "who is shown first is drawn"
    file = tmp_path / "verdicts.jsonl"
    write_jsonl(file, [{**row, "annotator": "ann", "verdict": "first"} for row in rows])
    judge = {"name": "people", "kind": "human", "file": str(file), "sha256": ""}
    judge["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    write_jsonl(tmp_path / "samples.jsonl", SAMPLES)
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    write_jsonl(tmp_path / "none.jsonl", [])
    cfg = config("compare", judges=[judge], given="none", **RANDOM)
    metrics = stage.compare(cfg, tmp_path, tmp_path / "prompts.jsonl", tmp_path / "none.jsonl", tmp_path / "out")
    assert (metrics["pairs"], metrics["invalid_pairs"], metrics["people_used"]) == (60, 0, 60)


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.jsonl"])
def test_a_file_that_comes_back_can_be_read(tmp_path, name):
    """Whatever the tool leaves of it: hashes alone, texts alone, ids with the policy's hash."""
    rows = label_pairs(config("compare", **RANDOM), SAMPLES, PROMPTS, [])
    write_pairs(tmp_path / name, rows)
    back = read_back(tmp_path / name)
    assert len(back) == len(rows)
    if name == "p.csv":
        assert not any(cell.startswith(("=", "+", "-", "@")) for row in back for cell in row.values()), "formulas"
    ids, texts = ("prompt_id", "first", "second", "policy"), ("prompt", "first_text", "second_text")
    for kept in (ids, texts, ("prompt_sha256", "first_sha256", "second_sha256"), tuple(rows[0])):
        said = [{**{key: row[key] for key in kept}, "annotator": "ann", "verdict": "1"} for row in back]
        write_jsonl(tmp_path / "said.jsonl", said)
        shown = stage.shown_samples(SAMPLES, stage.prompts_by_id(PROMPTS))
        judge = read_verdicts("people", tmp_path / "said.jsonl", shown, VerdictForm())
        assert judge.counts.used == len(rows) and judge.annotations(PROMPTS[0], back[0]["first_text"], back[0]["second_text"])
    with pytest.raises(DataError, match="exists, and may hold verdicts already"):
        write_pairs(tmp_path / name, rows)


def read_back(path) -> list[dict]:
    if path.suffix == ".csv":
        assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "or a spreadsheet takes it for another encoding"
        return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    return json.loads(path.read_text()) if path.suffix == ".json" else read_jsonl(path)


TEXTS_ALONE = ("prompt", "first_text", "second_text")
TOOLS = {
    "label studio": (
        lambda row: {"id": 1, "data": row, "annotations": [{"id": 2, "completed_by": 3, "result": [
            {"from_name": "better", "to_name": "x", "type": "pairwise", "value": {"selected": "left"}}]}]},
        {"verdict": "better", "annotator": "completed_by"}),
    "argilla": (
        lambda row: {"id": row["prompt_id"], "fields": {name: row[name] for name in TEXTS_ALONE},
                     "responses": {"better": [{"value": "first", "user_id": "3"}]}},
        {"verdict": "better", "annotator": "user_id"}),
}  # fmt: skip


@pytest.mark.parametrize(("tool", "columns"), TOOLS.values(), ids=TOOLS)
def test_pairs_that_went_through_a_tool(tmp_path, tool, columns):
    rows = label_pairs(config("compare", **RANDOM), SAMPLES, PROMPTS, [])
    (tmp_path / "export.json").write_text(json.dumps([tool(row) for row in rows]))
    shown = stage.shown_samples(SAMPLES, stage.prompts_by_id(PROMPTS))
    judge = read_verdicts("people", tmp_path / "export.json", shown, VerdictForm(columns))
    assert judge.counts.used == len(rows)
    assert all(judge.compare(row, pair["first_text"], pair["second_text"], key="").p_first == 1.0
               for row in PROMPTS for pair in rows if pair["prompt_id"] == row["id"])  # fmt: skip


def test_pairs_that_hang_on_ratings_are_those_that_were_judged():
    cfg = config("compare", strategy="best_vs_worst")
    judged = [{"a": "p003#1", "b": "p003#2"}]
    (row,) = label_pairs(cfg, SAMPLES, PROMPTS, judged)
    assert {row["first"], row["second"]} == {"p003#1", "p003#2"} and row["prompt_id"] == "p003"
    for missing in ([], [{"a": "p003#1", "b": "p999#2"}]):
        with pytest.raises(DataError, match="hangs on ratings.*compare.strategy to random"):
            label_pairs(cfg, SAMPLES, PROMPTS, missing)


def test_the_command_in_a_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS.parent / "dvc.yaml", tmp_path)
    params = {**project_params(), "compare": {**project_params()["compare"], **RANDOM}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert main("label_pairs.document", '{"out": "p.csv"}') == 1
    assert "there are no samples at artifacts/generate/samples.jsonl" in capsys.readouterr().err
    write_jsonl(tmp_path / "artifacts" / "generate" / "samples.jsonl", SAMPLES)
    write_jsonl(tmp_path / "artifacts" / "data" / "compare_prompts.jsonl", PROMPTS)
    assert main("label_pairs.document", '{"out": "p.txt"}') == 1 and "p.txt is none of .csv, .jsonl, .json" in capsys.readouterr().err
    assert main("label_pairs.document", '{"out": "p.csv"}') == 0
    assert json.loads(capsys.readouterr().out) == {"file": "p.csv", "pairs": 60, "policy": "0" * 64}
    write_jsonl(tmp_path / "artifacts" / "generate" / "samples.jsonl", SAMPLES[:1])
    with pytest.raises(DataError, match="no prompt has two different samples"):
        document(tmp_path / "q.csv")
