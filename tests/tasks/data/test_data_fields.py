"""Fields beside the text, and whole files of rows: types, dates, gaps, Parquet, and all that is wrong at once."""

import datetime
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.config.data import CONTENT_FIELDS, ROW_FIELDS
from tasks.data.fields import FIELDS, fields_of
from tasks.data.forms import BESIDE, FORMS, VERDICTS
from tasks.data.values import BadRow
from tasks.prepare import survey
from tests.support.prepare_rows import (  # noqa: F401
    NO_COLUMNS,
    SHARES,
    config,
    data,
    demonstrations,
    prepare,
    prompts,
    write,
)

NAN = float("nan")


@pytest.mark.parametrize(("given", "typed"), [
    ({"harmful": 1}, {"harmful": True}),
    ({"harmful": 0}, {"harmful": False}),
    ({"harmful": 1.0}, {"harmful": True}),
    ({"harmful": "Yes"}, {"harmful": True}),
    ({"harmful": "false"}, {"harmful": False}),
    ({"harmful": NAN}, {}),
    ({"harmful": None}, {}),
    ({"expected_facts": "Madrid"}, {"expected_facts": ["Madrid"]}),
    ({"expected_facts": [4, 2.0, 2.5]}, {"expected_facts": ["4", "2", "2.5"]}),
    ({"expected_facts": 4}, {"expected_facts": ["4"]}),
    ({"expected_facts": '["Madrid", "Toledo"]'}, {"expected_facts": ["Madrid", "Toledo"]}),
    ({"expected_facts": []}, {"expected_facts": []}),
    ({"other_facts": "Lisbon", "topic": "spain"}, {"other_facts": ["Lisbon"], "topic": ["spain"]}),
    ({"expected_facts": [datetime.datetime(1969, 7, 20)]}, {"expected_facts": ["1969-07-20"]}),
    ({"insisted": datetime.date(1970, 1, 1)}, {"insisted": "1970-01-01"}),
    ({"attack": datetime.datetime(2024, 5, 1, 12, 30)}, {"attack": "2024-05-01T12:30:00"}),
    ({"id": 7, "root": 3.0, "category": "safety"}, {"id": "7", "root": "3", "category": "safety"}),
    ({"score_gap": 2, "soft_label": 0.75}, {"score_gap": 2, "soft_label": 0.75}),
    ({"picture": b"x", "when": datetime.datetime(2024, 5, 1), "margin": 3, "label": 1}, {}),
])  # fmt: skip
def test_fields_have_types(given, typed):
    assert fields_of(given) == typed


@pytest.mark.parametrize(("given", "words"), [
    ({"harmful": 2}, "harmful must be true or false: found 2"),
    ({"harmful": "maybe"}, "harmful must be true or false: found 'maybe'"),
    ({"harmful": [True]}, "harmful must be true or false"),
    ({"expected_facts": [["Madrid"]]}, "expected_facts must be text"),
    ({"expected_facts": {"a": 1}}, "expected_facts must be text"),
    ({"expected_facts": ["Madrid", ""]}, "none of them empty"),
    ({"expected_facts": [True]}, "expected_facts must be text: found True"),
    ({"attack": ["a"]}, "attack must be text"),
    ({"kind": b"x"}, "kind must be text"),
    ({"score_gap": "1"}, "score_gap must be a finite number"),
    ({"soft_label": float("inf")}, "soft_label must be a finite number"),
    ({"split": "train"}, "split must be one of pretrain, sft, .*: found 'train'"),
])  # fmt: skip
def test_fields_of_another_type_are_refused(given, words):
    with pytest.raises(BadRow) as refused:
        fields_of(given)
    with pytest.raises(BadRow, match=words):
        raise BadRow(refused.value.full)


def test_every_field_that_params_may_name_has_a_type_or_is_content():
    assert set(ROW_FIELDS) == set(FIELDS)
    used = {name for form in FORMS if not form.refusal for name in (*form.columns, *form.optional)}
    assert used | {*BESIDE, *VERDICTS} == set(CONTENT_FIELDS)


def test_fields_come_from_the_columns_that_params_name(data, tmp_path):  # noqa: F811
    write(data / "prompts.jsonl", [{**row, "category": "open_qa", "danger": "yes"} for row in prompts()])
    columns = {**NO_COLUMNS, "prompts": {"category": None, "harmful": "danger"}}
    prepare(config(columns=columns), data, tmp_path)
    (row, _) = read_jsonl(tmp_path / "gate_prompts.jsonl")
    assert row["category"] == "instruction" and row["harmful"] is True


def test_no_file_of_ours_holds_what_json_has_not(tmp_path):
    with pytest.raises(ValueError):
        write_jsonl(tmp_path / "x.jsonl", [{"x": NAN}])


# --- Parquet ---

CALL = [{"type": "function", "function": {"name": "times", "arguments": {"a": 17, "b": 3}}}]
ROWS = [
    {"messages": [{"role": "user", "content": "17 times 3?"}, {"role": "assistant", "content": "", "tool_calls": CALL},
                  {"role": "tool", "name": "times", "content": "51"}, {"role": "assistant", "content": "51."}],
     "split": "sft", "seen": "2024-05-01", "expected_facts": ["2024-05-02"]},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
     "split": "sft", "seen": "2024-05-02", "expected_facts": ["1969-07-20"]},
]  # fmt: skip


@pytest.mark.parametrize("writer", ["from_list", "from_json", "pyarrow"])
def test_parquet_gives_the_rows_of_its_jsonl(data, tmp_path, writer):  # noqa: F811
    """`datasets` makes JSON text of messages that differ in their keys, time stamps of dates; pyarrow fills keys up."""
    write(data / "demos.jsonl", ROWS)
    if writer == "from_json":
        table = datasets.Dataset.from_json(str(data / "demos.jsonl"), cache_dir=str(tmp_path / "cache"))
        assert str(table.features["seen"]) == "Value('timestamp[s]')" and "Json" in str(table.features["messages"])
        table.to_parquet(data / "demos.parquet")
    elif writer == "from_list":
        datasets.Dataset.from_list(ROWS).to_parquet(data / "demos.parquet")
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), data / "demos.parquet")
    for name in ("demos.jsonl", "demos.parquet"):
        prepare(config(demonstrations=name), data, tmp_path / name)
    files = [(tmp_path / name / "demonstrations.jsonl").read_bytes() for name in ("demos.jsonl", "demos.parquet")]
    assert files[0] == files[1] and b'"expected_facts": ["2024-05-02"]' in files[0] and b"null" not in files[0]


# --- all that is wrong ---


def test_the_error_counts_the_other_bad_rows(data, tmp_path):  # noqa: F811
    bad = [{"prompt": "a", "completion": ""}, {"prompt": "b", "completion": " "}, {"prompt": "", "completion": "x"}]
    write(data / "demos.jsonl", demonstrations("sft", 4) + bad)
    words = (r"demos.jsonl, row 5: the response is empty; mend it, or set data.bad_rows to skip. 2 more rows are bad: "
             r"1 for the same reason; 1 because there is no prompt \(row 7\)$")
    with pytest.raises(DataError, match=words):
        prepare(config(), data, tmp_path)


def test_a_line_that_is_no_json_is_skipped_and_counted(data, tmp_path):  # noqa: F811
    with open(data / "demos.jsonl", "a") as file:
        file.write('{"prompt": \n[1]\n')
    words = r"demos.jsonl, row 5: the line is no JSON object: line 5: invalid JSON \(Expecting value at column 1"
    with pytest.raises(DataError, match=words):
        prepare(config(), data, tmp_path)
    metrics = prepare(config(bad_rows="skip"), data, tmp_path)
    assert metrics["skipped_demonstrations"] == 2 and metrics["rows_sft"] == 4


def test_one_root_for_all_is_said_with_what_helps(data, tmp_path):  # noqa: F811
    rows = [{"prompt": f"ask {i}", "root": "all"} for i in range(40)]
    write(data / "prompts.jsonl", rows)
    words = r"the 40 prompts have 1 different root \(the first is 'all'\).*data.columns.prompts: \{root: null\}"
    with pytest.raises(DataError, match=words):
        prepare(config(), data, tmp_path)
    metrics = prepare(config(columns={**NO_COLUMNS, "prompts": {"root": None}}), data, tmp_path)
    assert metrics["rows_gate"] and metrics["rows_rl"]


def test_a_survey_tells_all_of_it(data):  # noqa: F811
    """Two reasons against demonstrations, an id that occurs twice, no preferences file, no prompts for the gate."""
    write(data / "demos.jsonl", [*demonstrations("sft", 2), {"prompt": "a", "completion": ""},
                                 {"prompt": "b", "completion": ""}, {"note": 1}])  # fmt: skip
    write(data / "prompts.jsonl", [{"id": "x", **row} for row in prompts() if row["split"] != "gate"])
    cfg = config(preferences="prefs.jsonl").data
    surveyed = survey(cfg, data, model=None).findings
    assert [(finding.count, finding.reason[:30]) for finding in surveyed] == [
        (1, f"data file {data}"[:30]), (2, "the response is empty"), (1, "it has no conversation and no "),
        (1, f"{data}/prompts.jsonl: id"[:30])]  # fmt: skip
    assert str(surveyed[1]) == f"{data}/demos.jsonl, row 3: the response is empty"
    write(data / "prompts.jsonl", [row for row in prompts() if row["split"] != "gate"])
    surveyed = survey(config(bad_rows="skip").data, data, model=None)
    assert [finding.stops for finding in surveyed.findings] == [False, False, True]
    assert surveyed.findings[-1].reason.startswith("no rows fall into the split 'gate'")
    assert len(surveyed.files["demonstrations"]) == 2 and len(surveyed.files["rl_prompts"]) == 2


def test_a_survey_gives_the_rows_that_are_written(data, tmp_path):  # noqa: F811
    question = {"prompt": "What is it?"}
    again = [{"id": f"again-{split}", **question, "split": split, "root": split} for split in ("gate", "rl")]
    write(data / "prompts.jsonl", prompts(*again, {"prompt": "\n\nHuman: x\n\nAssistant:", "split": "rl"}))
    surveyed = survey(config().data, data, model=None)
    assert [(finding.stops, finding.reason[:26]) for finding in surveyed.findings] == [
        (False, "its text has marks of who "), (True, "row 'again-rl' of split 'rl'"[:26])]  # fmt: skip
    metrics = prepare(config(bad_rows="skip"), data, tmp_path)
    assert surveyed.files == {path.stem: read_jsonl(path) for path in tmp_path.glob("*.jsonl")}
    assert metrics["marks_as_text_prompts"] == 1


def test_several_pairs_of_one_row_have_ids_that_lead_to_it(data, tmp_path):  # noqa: F811
    answers = [{"answer": text, "rank": rank} for rank, text in enumerate(("best", "second", "third"), start=1)]
    write(data / "prefs.jsonl", [{"id": "p", "prompt": "ask", "answers": answers, "split": "preferences"}])
    metrics = prepare(config(preferences="prefs.jsonl", splits={**SHARES}), data, tmp_path)
    assert [row["id"] for row in read_jsonl(tmp_path / "preferences.jsonl")] == ["p#vs1", "p#vs2"]
    assert metrics["rows_preferences"] == 2 and metrics["tied_preferences"] == 0


def test_rows_that_are_no_rows_never_raise_anything_else():
    """Whatever stands in the columns of any form, the answer is a row or a reason."""
    import random

    from tasks.data.reading import all_readers

    draw = random.Random(0)
    values = [None, True, 0, -1.5, NAN, "", "x", [], [None], {}, {"a": []}, [{"role": "user"}], ["x", "y"], [1, 2],
              [{"role": 1, "content": 2}], [{"role": "user", "content": "hi"}], "\n\nHuman: a\n\nAssistant: b", b"x",
              [{"response": "a", "overall_score": 1}, {"response": [], "overall_score": "x"}],
              datetime.date(2024, 1, 1), "[1", '[{"role": 3}]', "<|im_start|>narrator\nx"]  # fmt: skip
    columns = sorted({name for form in FORMS for one in form.columns.values()
                      for name in ([one] if isinstance(one, str) else one)} | {"system", "tools", "label"})  # fmt: skip
    readers, made = all_readers({}), 0
    for _ in range(4000):
        row = {key.split(".")[0]: draw.choice(values) for key in draw.sample(columns, draw.randint(0, 6))}
        for reader in readers:
            try:
                made += len(reader.contents(row))
                json.dumps(fields_of(row))
            except BadRow:
                continue
    assert made > 100
