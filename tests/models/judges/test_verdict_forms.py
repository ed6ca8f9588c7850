"""Verdicts as labelling tools and spreadsheets export them: the forms are theirs, read by naming the columns.

Label Studio's forms are those of its own converter (label-studio-sdk 2.1.2), Argilla's those of its client (argilla
2.8.0, `records.to_list`; 1.29, `format_as("datasets")`) and its server's JSON.
"""

import contextlib
import csv
import gzip
import io
import json

import pytest

from models.judges.human import ImportCounts, check_verdicts, read_verdicts
from models.judges.verdict_files import flat_rows, verdict_rows
from models.judges.verdict_form import VerdictForm
from tasks.common.rows import write_jsonl
from tasks.compare import shown_samples
from tasks.intake.inbound import Refused, parse
from tests.support.evaluation_rows import answer, prompt
from tests.support.intake_rows import held, intake_config, taken

GOOD, BAD = "Of course;\nit is on the shelf, 2,5 m up.", 'Look "there".'
ASKED = prompt(0)["prompt"][0]["content"]
SAMPLES = shown_samples([answer(prompt(0), text, i) for i, text in enumerate((GOOD, BAD))], {"p000": prompt(0)})
DRAFT = {"was_cancelled": True, "result": []}


def selected(side: str) -> dict:
    return {"value": {"selected": side}, "id": "x1", "from_name": "better", "to_name": "left", "type": "pairwise",
            "origin": "manual"}


EQUAL = {"value": {"choices": ["equally good"]}, "id": "x2", "from_name": "same", "to_name": "left", "type": "choices"}


def annotation(number: int, who, *result: dict, at="2026-05-01T10:00:00.000000Z", **more) -> dict:
    return {"id": number, "completed_by": who, "result": [*result], "was_cancelled": False, "ground_truth": False,
            "created_at": "2026-05-01T09:00:00.000000Z", "updated_at": at, "lead_time": 7.25, "prediction": {},
            "result_count": len(result), "task": 11, "project": 1, "parent_prediction": None, **more}


def task(*annotations: dict, **more) -> dict:
    return {"id": 11, "annotations": [*annotations], "file_upload": "pairs.json", "drafts": [], "predictions": [],
            "data": {"question": ASKED, "text1": GOOD, "text2": BAD}, "meta": {}, "inner_id": 1,
            "created_at": "2026-04-30T09:00:00.000000Z", "updated_at": "2026-05-01T10:00:00.000000Z", **more}


ANN = {"id": 1, "email": "Ann@example.org", "first_name": "", "last_name": ""}
TASKS = [
    task(annotation(5, ANN, selected("right")), annotation(6, 2, EQUAL), annotation(7, 3, **DRAFT), annotation(8, 4),
         annotation(9, ANN, selected("left"), at="2026-05-02T10:00:00.000000Z")),
    task(drafts=[annotation(1, 9, selected("left"))]),
]  # fmt: skip
STUDIO = {
    "columns": {"prompt": "question", "first_text": "text1", "second_text": "text2", "verdict": "better|same",
                "annotator": "completed_by", "at": "updated_at"},
    "words": {"Equally good": "tie"},
}  # fmt: skip
STUDIO_FLAT = {**STUDIO, "columns": {**STUDIO["columns"], "annotator": "annotator"}}
MINIMAL = [  # JSON-MIN
    {"question": ASKED, "text1": GOOD, "text2": BAD, "id": 11, "same": "equally good", "annotator": 2,
     "annotation_id": 6, "created_at": "2026-05-01T10:00:00Z", "updated_at": "2026-05-01T10:00:00Z", "lead_time": 1.0},
    {"question": ASKED, "text1": GOOD, "text2": BAD, "id": 11, "better": [{"selected": "left"}],
     "annotator": "ann@example.org", "annotation_id": 5, "created_at": "2026-05-01T10:00:00Z",
     "updated_at": "2026-05-01T10:00:05Z", "lead_time": 7.25},
]  # fmt: skip

FIELDS = {"prompt": ASKED, "response1": GOOD, "response2": BAD}
CHAT = [{"role": "user", "content": ASKED}]
ARGILLA = {"columns": {"first_text": "response1", "second_text": "response2", "verdict": "preference",
                       "annotator": "user_id", "at": "updated_at"},
           "words": {"response1": "first", "response2": "second"}}  # fmt: skip
RECORD = {"id": "r1", "fields": FIELDS, "metadata": {"batch": 3}, "vectors": {}, "status": "pending",
          "_server_id": None, "suggestions": {"preference": {"value": "response2", "score": None, "agent": "bot"}},
          "responses": {"comment": [{"value": "tie", "user_id": "2b"}],
                        "preference": [{"value": "response1", "user_id": "1a"}, {"value": "tie", "user_id": "2b"}]}}
FLAT_RECORD = {"id": "r1", "status": "completed", "_server_id": None, **FIELDS, "batch": 3,
               "preference.responses": ["response1", "tie", "response2", "response2"],
               "preference.responses.users": ["1a", "2b", "3c", "4d"],
               "preference.responses.status": ["submitted", "submitted", "draft", "discarded"],
               "preference.suggestion": "response2", "preference.suggestion.score": None}
HALF_FLAT = {"fields": FIELDS, **{key: value for key, value in FLAT_RECORD.items() if key not in FIELDS}}
ARGILLA_1 = {**FIELDS, "preference": [{"user_id": "1a", "value": "response1", "status": "submitted"},
                                      {"user_id": "3c", "value": "response2", "status": "draft"},
                                      {"user_id": "2b", "value": "tie", "status": "submitted"}],
             "preference-suggestion": "response2", "external_id": None, "metadata": "{}"}  # format_as("datasets")
SERVER_RECORD = {"id": "5f", "external_id": "r1", "fields": {**FIELDS, "prompt": CHAT}, "metadata": None, "responses": [
    {"id": "9", "values": {"preference": {"value": "response1"}}, "status": "submitted", "user_id": "1a",
     "inserted_at": "2026-05-01T10:00:00", "updated_at": "2026-05-01T10:00:00"},
    {"id": "8", "values": None, "status": "discarded", "user_id": "3c", "inserted_at": "2026-05-01T10:00:00"},
    {"id": "7", "values": {"preference": {"value": "tie"}}, "status": "submitted", "user_id": "2b"}]}  # fmt: skip


def sheet(separator: str = ",", rows=None, end: str = "\r\n", start: str = "", quoting=csv.QUOTE_MINIMAL) -> str:
    """What a spreadsheet saves: times spent with a decimal comma, a text with line ends and quotes in it."""
    rows = rows or [("ann", "1", "7,25", GOOD, BAD), ("bob", "tie", "12", GOOD, BAD), ("", "1", "0", GOOD, BAD)]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow(["Who", "Better?", "minutes", "Answer 1", "Answer 2", "Question"])
    writer.writerows([*row, ASKED] for row in rows)
    return start + file.getvalue()


SHEET = {"columns": {"annotator": "Who", "verdict": "Better?", "first_text": "Answer 1", "second_text": "Answer 2",
                     "prompt": "Question"}}  # fmt: skip
BY_STUDIO = {"ann@example.org": 1.0, "2": 0.5}
BY_ARGILLA = {"1a": 1.0, "2b": 0.5}
BY_SHEET = {"ann": 1.0, "bob": 0.5}
LINES = "".join(json.dumps(one) + "\n" for one in TASKS)
EXPORTS = {
    "label studio": ("t.json", json.dumps(TASKS, indent=2), STUDIO, BY_STUDIO,
                     {"used": 2, "corrected": 1, "not_submitted": 1, "missing_columns": 1}),
    "label studio, a line each": ("t.jsonl", LINES, STUDIO, BY_STUDIO,
                                  {"used": 2, "corrected": 1, "not_submitted": 1, "missing_columns": 1}),
    "label studio, one task": ("t.json", json.dumps(TASKS[0]), STUDIO, BY_STUDIO,
                               {"used": 2, "corrected": 1, "not_submitted": 1, "missing_columns": 1}),
    "label studio, JSON-MIN": ("t.json", json.dumps(MINIMAL), STUDIO_FLAT, BY_STUDIO, {"used": 2}),
    "argilla": ("r.json", json.dumps([RECORD]), ARGILLA, BY_ARGILLA, {"used": 2}),
    "argilla, flattened": ("r.json", json.dumps([FLAT_RECORD]), ARGILLA, BY_ARGILLA, {"used": 2, "not_submitted": 2}),
    "argilla, half flattened": ("r.json", json.dumps([HALF_FLAT]), ARGILLA, BY_ARGILLA,
                                {"used": 2, "not_submitted": 2}),
    "argilla 1": ("r.jsonl", json.dumps(ARGILLA_1), ARGILLA, BY_ARGILLA, {"used": 2, "not_submitted": 1}),
    "argilla 1, by columns": ("r.jsonl", json.dumps(ARGILLA_1 | {"preference": {
        name: [one.get(name) for one in ARGILLA_1["preference"]] for name in ("user_id", "value", "status")}}),
        ARGILLA, BY_ARGILLA, {"used": 2, "not_submitted": 1}),
    "argilla's server": ("r.json", json.dumps([SERVER_RECORD]), ARGILLA, BY_ARGILLA, {"used": 2, "not_submitted": 1}),
    "argilla's server, a page": ("r.json", json.dumps({"items": [SERVER_RECORD], "total": 1}), ARGILLA, BY_ARGILLA,
                                 {"used": 2, "not_submitted": 1}),
    "label studio's server, a page": ("t.json", json.dumps({"tasks": TASKS, "total": 2}), STUDIO, BY_STUDIO,
                                      {"used": 2, "corrected": 1, "not_submitted": 1, "missing_columns": 1}),
    "sheet, commas": ("s.csv", sheet(), SHEET, BY_SHEET, {"used": 2, "missing_columns": 1}),
    "sheet, semicolons": ("s.csv", sheet(";"), SHEET, BY_SHEET, {"used": 2, "missing_columns": 1}),
    "sheet, BOM": ("s.csv", sheet(";", start="\ufeff"), SHEET, BY_SHEET, {"used": 2, "missing_columns": 1}),
    "sheet, separator named": ("s.csv", sheet(";", start="\ufeffsep=;\r\n"), SHEET, BY_SHEET,
                               {"used": 2, "missing_columns": 1}),
    "sheet, tabs": ("s.tsv", sheet("\t", end="\n"), SHEET, BY_SHEET, {"used": 2, "missing_columns": 1}),
    "sheet, all quoted": ("s.csv", sheet(quoting=csv.QUOTE_ALL), SHEET, BY_SHEET, {"used": 2, "missing_columns": 1}),
    "sheet, decimal commas": ("s.csv", sheet(";", [("7,0", "1,0", "2,5", GOOD, BAD), ("8,0", "2,0", "", GOOD, BAD)]),
                              SHEET, {"7": 1.0, "8": 0.0}, {"used": 2}),
    "sheet, its line ends": ("s.csv", sheet(rows=[("ann", "1", "", GOOD.replace("\n", "\r\n"), f"{BAD} ")]), SHEET,
                             {"ann": 1.0}, {"used": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "form", "said", "counts"), EXPORTS.values(), ids=EXPORTS)
def test_an_export_is_read_as_it_is(tmp_path, name, text, form, said, counts):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    form = VerdictForm(**form)
    check_verdicts(tmp_path / name, form)
    judge = read_verdicts("people", tmp_path / name, SAMPLES, form)
    assert judge.annotations(prompt(0), GOOD, BAD) == said and judge.annotations(prompt(0), BAD, GOOD) == {
        who: 1 - value for who, value in said.items()
    }
    assert vars(judge.counts) == {**vars(ImportCounts()), **counts}


@pytest.mark.parametrize(("name", "text", "form", "said", "counts"), EXPORTS.values(), ids=EXPORTS)
def test_an_export_in_the_inbox_is_taken_in_as_it_is(tmp_path, name, text, form, said, counts):
    """What intake adds to the data is in our own form: the judge reads it without any columns named."""
    write_jsonl(tmp_path / "prompts.jsonl", [{"id": "q", "split": "compare", "prompt": ASKED}])
    data = text.encode()
    for ending, content in (("", data), (".gz", gzip.compress(data, mtime=0))):
        into = held(tmp_path, form=form)
        parsed = parse(f"verdicts/{name}{ending}", content, intake_config(max_row_characters=9000))
        rows = [into.candidate("verdicts", one.row, "o") for one in parsed.rows if usable(into, one.row)]
        write_jsonl(tmp_path / "verdicts.jsonl", [one.row for one in rows])
        assert all(one.row["prompt_id"] == "q" and "text" not in str(set(one.row)) for one in rows)
        assert len(rows) == counts["used"] + counts.get("corrected", 0)
        judge = read_verdicts("people", tmp_path / "verdicts.jsonl", SAMPLES)
        assert judge.annotations(prompt(0), GOOD, BAD) == said


def usable(into, row) -> bool:
    try:
        into.candidate("verdicts", row, "o")
    except ValueError:
        return False
    return True


NUMBERS = {  # codes in which a 1 need not be the first of two
    "0 and 1": ("0", "1"), "from 0 to 2": (0, 1, 2), "-1 to 1": (-1, 0, 1), "grades of five": (1, 2, 5),
    "a preference by halves": ("1", "0,5"), "as a tool keeps them": ([{"value": 1}], ["3"]),
}  # fmt: skip


@pytest.mark.parametrize("words", NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_mean_nothing_by_themselves_are_not_guessed(tmp_path, words):
    """A file in which 1 is the second, or a grade: each 1 would train the wrong text."""
    base = {"prompt": ASKED, "first_text": GOOD, "second_text": BAD}
    rows = [{**base, "annotator": f"p{i}", "verdict": word} for i, word in enumerate(words)]
    write_jsonl(tmp_path / "v.jsonl", rows)
    for read in (lambda form: read_verdicts("people", tmp_path / "v.jsonl", SAMPLES, form),
                 lambda form: check_verdicts(tmp_path / "v.jsonl", form)):
        with pytest.raises(ValueError, match=rf"\({len(words)} unknown verdicts\); say in the judge's words what '"):
            read(VerdictForm())
        assert read(VerdictForm(words={str(one): "second" for one in (0, 1, -1, 2, 3, 5, "0,5")})) != []
    write_jsonl(tmp_path / "prompts.jsonl", [{"id": "q", "split": "compare", "prompt": ASKED}])
    outcome = taken("verdicts", *rows, into=held(tmp_path))
    assert outcome.rows == [] and all("intake.verdict_form.words" in one.reason for one in outcome.problems)


@pytest.mark.parametrize(("first", "second"), [("response2", "response1"), ("data.text_b", "data.text_a"), ("B", "A")])
def test_a_verdict_may_name_the_column_of_its_text(tmp_path, first, second):
    """Whatever its number or letter says elsewhere: `response2` is the first here."""
    def row(who, word):
        shown = {"text_b": GOOD, "text_a": BAD}
        return {"prompt": ASKED, first: GOOD, second: BAD, "data": shown, "annotator": who, "verdict": word}

    names = [name.split(".")[-1] for name in (first, second)]
    write_jsonl(tmp_path / "v.jsonl", [row(f"p{i}", word) for i, word in enumerate([*names, "tie"])])
    form = VerdictForm({"first_text": first, "second_text": second})
    assert read_verdicts("people", tmp_path / "v.jsonl", SAMPLES, form).annotations(prompt(0), GOOD, BAD) == {
        "p0": 1.0, "p1": 0.0, "p2": 0.5,
    }
    turned = VerdictForm(form.columns, {name: meant for name, meant in zip(names, ("second", "first"), strict=True)})
    assert read_verdicts("people", tmp_path / "v.jsonl", SAMPLES, turned).annotations(prompt(0), GOOD, BAD)["p0"] == 0.0


@pytest.mark.parametrize(("better", "same", "said"), [
    ("left", None, 1.0), (None, "equally good", 0.5), ("left", "left", 1.0), ("left", "A", 1.0),
    ("left", "equally good", None), ("left", "right", None), ("left", "hm", None),
])  # fmt: skip
def test_of_two_columns_that_are_filled_neither_is_preferred(tmp_path, better, same, said):
    base = {"prompt": ASKED, "first_text": GOOD, "second_text": BAD}
    rows = [{**base, "annotator": "ann", "better": better, "same": same},
            {**base, "annotator": "bob", "better": "right", "same": ""}]
    write_jsonl(tmp_path / "v.jsonl", rows)
    judge = read_verdicts("people", tmp_path / "v.jsonl", SAMPLES, VerdictForm({"verdict": "better|same"}))
    assert judge.annotations(prompt(0), GOOD, BAD).get("ann") == said
    assert judge.counts.unknown_verdicts == (said is None)


def test_letters_beside_such_numbers_count(tmp_path):
    base = {"prompt": ASKED, "first_text": GOOD, "second_text": BAD}
    rows = [{**base, "annotator": f"p{i}", "verdict": word} for i, word in enumerate(("1", "7", "B"))]
    write_jsonl(tmp_path / "v.jsonl", rows)
    judge = read_verdicts("people", tmp_path / "v.jsonl", SAMPLES)
    assert judge.annotations(prompt(0), GOOD, BAD) == {"p2": 0.0} and judge.counts.unknown_verdicts == 2


MODELS = {"first_model": "gpt-x", "second_model": "our model 2"}
SCALES = {
    "first, second, tie": ({}, ("first", "second", "tie")),
    "1/2": ({}, (1, 2, "tie")),
    "numbers as text": ({}, ("1.0", "2,0", "Tie")),
    "floats": ({}, (1.0, 2.0, "draw")),
    "left/right": ({}, ("Left", " RIGHT ", "equal")),
    "A/B/tie": ({}, ("A", "b", "TIE")),
    "as judges say it": ({}, ("[[A]]", "[[B]]", "both")),
    "nouns, written together": ({}, ("Response1", "model-B", "No preference")),
    "in words": ({}, ("Option 1", "answer_2", "Equally  bad")),
    "the Arena's": ({}, ("model_a", "model_b", "tie (bothbad)")),
    "model names": ({}, ("GPT-X", "our  model 2", "tie")),
    "own words": ({"words": {"0": "first", "1": "second", "weiß nicht": "tie"}}, (0, 1, "Weiß nicht")),
    "own words, turned round": ({"words": {"a": "second", "b": "first", "=": "tie"}}, ("b", "a", "=")),
    "a choice in a list": ({}, (["left"], '["right"]', [{"choices": ["tie"]}])),
}  # fmt: skip


@pytest.mark.parametrize(("form", "words"), SCALES.values(), ids=SCALES)
def test_words_for_a_verdict(tmp_path, form, words):
    base = {"prompt": ASKED, "first_text": GOOD, "second_text": BAD, **MODELS}
    write_jsonl(tmp_path / "v.jsonl", [{**base, "annotator": f"p{i}", "verdict": word} for i, word in enumerate(words)])
    judge = read_verdicts("people", tmp_path / "v.jsonl", SAMPLES, VerdictForm(**form))
    assert judge.annotations(prompt(0), GOOD, BAD) == {"p0": 1.0, "p1": 0.0, "p2": 0.5}


@pytest.mark.parametrize(("word", "models"), [
    ("0", {}), (3, {}), (True, {}), ("perhaps", {}), ("gpt-x", {}), (["left", "right"], {}),
    ("gpt-x", {"first_model": "gpt-x", "second_model": "GPT-X"}), ("gpt-y", MODELS), ({"stars": 4}, {}),
])  # fmt: skip
def test_words_that_name_neither(tmp_path, word, models):
    row = {"prompt": ASKED, "first_text": GOOD, "second_text": BAD, "annotator": "ann", "verdict": word, **models}
    write_jsonl(tmp_path / "v.jsonl", [row])
    with pytest.raises(ValueError, match=r"can be used \(1 unknown verdicts\)"):
        read_verdicts("people", tmp_path / "v.jsonl", SAMPLES)


def test_a_ranking_is_read_by_the_path_to_its_best(tmp_path):
    record = {**RECORD, "responses": {"rank": [{"value": ["response2", "response1"], "user_id": "1a"}]}}
    (tmp_path / "r.json").write_text(json.dumps([record]))
    form = VerdictForm(**{**ARGILLA, "columns": {**ARGILLA["columns"], "verdict": "rank.0"}})
    assert read_verdicts("people", tmp_path / "r.json", SAMPLES, form).annotations(prompt(0), GOOD, BAD) == {"1a": 0.0}


@pytest.mark.parametrize("row", [
    {"annotations": [1, None, {"result": [None, 3, {"from_name": "x"}], "was_cancelled": None}], "data": 7},
    {"annotations": [{"result": "x", "completed_by": []}]}, {"completions": [{}]}, {"data": {}, "annotations": None},
    {"fields": {}, "responses": None}, {"fields": {}, "responses": {"q": None}, "metadata": 3},
    {"fields": {}, "responses": {"q": [1, {"value": {}}]}}, {"fields": {}, "responses": [2, {"values": 3}]},
    {"q.responses": None}, {"q.responses": ["a"], "q.responses.users": 3, "q.responses.status": []}, {"q.responses": 4},
    {"q": {"value": 1, "user_id": "a"}}, {"q": [{"value": 1, "user_id": "a"}, 3]}, {"q": {"value": [1], "user_id": []}},
])  # fmt: skip
def test_what_only_looks_like_an_export_is_no_verdict_and_stops_nothing(tmp_path, row):
    assert all(isinstance(one, str | dict) for one in flat_rows(row))
    (tmp_path / "x.json").write_text(json.dumps([row, 3, None, []]))
    assert [one for one in verdict_rows(tmp_path / "x.json") if one == "broken_lines"] == ["broken_lines"] * 3
    with contextlib.suppress(Refused):  # for it has no rows at all
        assert taken("verdicts", row, into=held(tmp_path)).rows == []
