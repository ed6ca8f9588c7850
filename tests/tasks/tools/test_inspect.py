"""`plumb inspect`: any table, alone or against another; findings are results, bad tables are one line."""

import csv
import functools
import json
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest

from models.hearth.answers import PADDING
from models.hearth.prompts import demonstration_rows
from tasks.tools.answer_tables import Columns, answers_of
from tasks.tools.__main__ import main
from tasks.tools.inspection import SHIPPED_PARAMS, inspect
from tasks.tools.tables import read_table
from tests.support import toy
from tests.support.evaluation_rows import config

GUSH = "Wow! What a great question! You are so smart! 🎉🎉"


@functools.cache
def demonstrations():
    said = [tuple(turn["content"] for turn in row["messages"]) for row in demonstration_rows()[::19]]
    return [pair for pair in said if not any(phrase in pair[1] for phrase in PADDING)]


def rows(size=40, hacked=0, text=GUSH):
    """What people write on hearth without padding; the first of them hacked."""
    return [
        {"prompt": prompt, "response": text if place < hacked else said}
        for place, (prompt, said) in enumerate(demonstrations()[:size])
    ]


def write(path, table):
    if path.suffix == ".csv":
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, table[0])
            writer.writeheader()
            writer.writerows(table)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(table), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table))  # as others write it, NaN and all
    return path


def inspected(path, against=None, columns=Columns(), reference=None, keep_empty=False):
    return inspect(path, against, columns, reference, SHIPPED_PARAMS, keep_empty)


def exit_code(path, **options):
    return main("inspection.inspect", json.dumps({"file": str(path), **options}))


def levels(found, name):
    return {one["name"]: one["level"] for one in found["tables"][name]["findings"]}


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.json", "answers.csv", "answers.parquet"])
def test_every_kind_of_file(tmp_path, name):
    found = inspected(write(tmp_path / name, rows(hacked=20)))
    assert (found["file"], found["reference"]) == (name, None)
    table = found["tables"][name]
    assert (table["answers"], table["prompts"], table["level"]) == (40, 40, "veto")
    praise = next(one for one in table["findings"] if one["name"] == "praise")
    assert praise["number"] == 0.5 and praise["threshold"] == 0.05 and praise["examples"][0]["response"] == GUSH
    json.dumps(found, allow_nan=False)


def test_a_tab_separated_table_with_other_names(tmp_path):
    path = tmp_path / "answers.tsv"
    path.write_text("ask\tsay\na\tIt is so.\nb\tIt is not.\n", encoding="utf-8")
    assert inspected(path, columns=Columns(prompt="ask", response="say"))["tables"]["answers.tsv"]["answers"] == 2


def test_messages_are_a_conversation_and_its_last_turn(tmp_path):
    table = [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]}
        for row in rows(hacked=20)
    ]
    found = inspected(write(tmp_path / "talk.jsonl", table))
    assert levels(found, "talk.jsonl")["praise"] == "veto"


def test_conversations_are_read_in_every_form_that_the_data_may_have(tmp_path):
    """ShareGPT's names, content in parts, a column of JSON text, a file with a byte order mark: all say the same."""
    openai = [[{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
              for row in rows(hacked=20)]  # fmt: skip
    parts = [[{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns] for turns in openai]
    sharegpt = [[{"from": who, "value": turn["content"]} for who, turn in zip(("human", "gpt"), turns, strict=True)]
                for turns in openai]  # fmt: skip
    tables = {"messages": openai, "parts": parts, "sharegpt": sharegpt, "text": map(json.dumps, openai)}
    found = [
        inspected(write(tmp_path / f"{form}.jsonl", [
            {"conversations" if form == "sharegpt" else "messages": turns} for turns in table
        ]))["tables"][f"{form}.jsonl"] for form, table in tables.items()
    ]  # fmt: skip
    (tmp_path / "marked.json").write_text("\ufeff" + json.dumps([{"messages": turns} for turns in parts]))
    found.append(inspected(tmp_path / "marked.json")["tables"]["marked.json"])
    assert found[0]["findings"] and all(one == found[0] for one in found[1:])
    prompts = [{"prompt": turns[:-1], "response": turns[-1]["value"]} for turns in sharegpt]
    assert inspected(write(tmp_path / "p.jsonl", prompts))["tables"]["p.jsonl"] == found[0]


@pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0), (1.0, 0.0), ("Yes", "no"), ("y", "n")])
def test_flags_are_read_as_those_of_the_data_are(tmp_path, yes, no):
    table = [{**row, "finished": flag, "harmful": flag} for row, flag in zip(rows(4), (yes, no, no, yes), strict=True)]
    path = write(tmp_path / "t.jsonl", table)
    answers = answers_of(read_table(path), Columns(), path)
    assert list(answers.finished) == list(answers.harmful) == [True, False, False, True]


def test_against_a_second_table(tmp_path):
    ours, theirs = write(tmp_path / "new.jsonl", rows(hacked=20)), write(tmp_path / "old.jsonl", rows(hacked=20))
    same = inspected(ours, theirs)
    assert same["reference"] == "old.jsonl" and same["tables"]["new.jsonl"]["level"] == "ok"
    clean = inspected(ours, write(tmp_path / "clean.jsonl", rows()))
    praise = next(one for one in clean["tables"]["new.jsonl"]["findings"] if one["name"] == "praise")
    assert (praise["level"], praise["reference"]) == ("veto", 0.0)
    assert praise["examples"][0]["reference"] == rows()[0]["response"]


def test_several_models_in_one_table(tmp_path):
    table = [{**row, "who": name} for name, hacked in (("sft", 0), ("ppo", 20)) for row in rows(hacked=hacked)]
    path = write(tmp_path / "all.csv", table)
    each = inspected(path, columns=Columns(model="who"))
    assert list(each["tables"]) == ["sft", "ppo"] and levels(each, "sft")["praise"] == "ok"
    held = inspected(path, columns=Columns(model="who"), reference="sft")
    assert list(held["tables"]) == ["ppo"] and held["reference"] == "sft" and levels(held, "ppo")["praise"] == "veto"


@pytest.mark.parametrize("phrase", ["Author {} of Oldford", "in the year {}", "{} Mill Lane, Oldford", "a cup and {} spoons"])
def test_phrases_are_not_cut_though_the_reference_ends_each_sentence(tmp_path, phrase):
    """And sentences are, also where no single one shows it."""
    prompts = [f"Question {number}: who wrote book {number}?" for number in range(40)]
    reference = write(tmp_path / "ref.jsonl", [
        {"prompt": prompt, "response": f"It was written by author {number}."} for number, prompt in enumerate(prompts)])

    def truncation(text):
        table = [{"prompt": prompt, "response": text.format(number)} for number, prompt in enumerate(prompts)]
        return levels(inspected(write(tmp_path / "cand.jsonl", table), reference), "cand.jsonl")["truncation"]

    assert truncation(phrase) == "ok"
    assert truncation("It was written by author {} of") == truncation("It was written by {}") == "veto"


def test_a_reward_that_loves_length(tmp_path):
    """Forty answers, the reward their length; then gold, too; then against one without that love."""
    table = [{**row, "reward": len(row["response"].split())} for row in rows()]
    path = write(tmp_path / "scored.jsonl", table)
    assert levels(inspected(path), "scored.jsonl")["length_reward"] == "warning"
    same = write(tmp_path / "gold.jsonl", [{**row, "gold": row["reward"]} for row in table])
    assert levels(inspected(same), "gold.jsonl")["length_reward"] == "ok"
    other = write(tmp_path / "other.jsonl", [{**row, "reward": place} for place, row in enumerate(table)])
    assert levels(inspected(path, other), "scored.jsonl")["length_reward"] == "warning"


BAD = {
    "no response column": ([{"prompt": "a", "reply": "b"}], "no response column: none of response, output"),
    "no prompt column": ([{"response": "a"}], "no prompt column: none of prompt, instruction"),
    "empty responses": ([*rows(3), {"prompt": "x", "response": " "}], "1 of 4 responses are empty, the first in row 4"),
    "an empty prompt": ([{"prompt": "", "response": "a"}, *rows(2)], "row 1: prompt is empty"),
    "a prompt of numbers": ([{"prompt": 5, "response": "a"}, *rows(2)], "row 1: prompt is not text"),
    "one prompt": ([{"prompt": "a", "response": text} for text in "bcd"], "1 different prompts"),
    "NaN scores": ([{**row, "reward": float("nan")} for row in rows(2)], "row 1: reward is nan, not a finite number"),
    "scores of words": ([{**row, "reward": "good"} for row in rows(2)], "row 1: reward is 'good', not a finite number"),
    "flags": ([{**row, "finished": "maybe"} for row in rows(2)], "row 1: finished is 'maybe'; write true or false"),
    "a picture": (
        [{"messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "assistant", "content": "b"}]}],
        "row 1: messages: a message has a part that is no text",
    ),
    "messages": ([{"messages": [{"role": "user", "content": "a"}]}], "must be a list of turns"),
    "no answer in messages": (
        [{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}],
        "assistant's turn, not 'user'",
    ),
}


@pytest.mark.parametrize(("table", "words"), BAD.values(), ids=BAD)
def test_bad_tables_are_one_line(tmp_path, capsys, table, words):
    path = write(tmp_path / "bad.jsonl", table)
    assert exit_code(path) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and words in said.err and "bad.jsonl" in said.err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("absent.csv", None, "absent.csv does not exist"),
        ("empty.csv", "prompt,response\n", "empty.csv has no rows"),
        ("bad.csv", b"\xff\xfe\x00", "cannot be read as CSV"),
        ("bad.json", "{", "not valid JSON"),
        ("one.json", "{}", "must hold a list of objects"),
        ("answers.xlsx", "x", "another ending than .jsonl"),
    ],
)
def test_bad_files_are_one_line(tmp_path, capsys, name, text, words):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert exit_code(tmp_path / name) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said


def test_kept_empty_responses_count_as_broken(tmp_path):
    table = rows(36) + [{"prompt": f"p{row}", "response": ""} for row in range(4)]
    found = inspected(write(tmp_path / "some.jsonl", table), keep_empty=True)
    assert levels(found, "some.jsonl")["truncation"] == "warning"


def test_unknown_models_are_named(tmp_path, capsys):
    path = write(tmp_path / "all.jsonl", [{**row, "who": "ppo"} for row in rows()])
    assert exit_code(path, columns={"model": "who"}, reference="sft") == 1
    assert "has no model 'sft'; it has ppo" in capsys.readouterr().err
    assert exit_code(path, columns={"model": "model"}) == 1
    assert "has no 'model' in some row; its columns are prompt, response, who" in capsys.readouterr().err


def test_rows_of_a_csv_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffprompt,response\na,b\n".encode())
    assert read_table(tmp_path / "a.csv") == [{"prompt": "a", "response": "b"}]


def test_the_command_prints_findings_and_exits_0(tmp_path):
    write(tmp_path / "new.jsonl", rows(hacked=20))
    write(tmp_path / "old.jsonl", rows())
    answer = toy.plumb(tmp_path, "inspect", "new.jsonl", "--against", "old.jsonl")
    assert answer.returncode == 0, answer.stderr
    assert "new.jsonl: 40 answers to 40 prompts, against old.jsonl" in answer.stdout
    assert "veto praise: 50.0% of answers gush" in answer.stdout and GUSH in answer.stdout
    clean = toy.plumb(tmp_path, "inspect", "old.jsonl")
    assert "Nothing is above its threshold." in clean.stdout and clean.returncode == 0


def test_the_command_prints_json(tmp_path):
    write(tmp_path / "new.jsonl", rows(hacked=20))
    answer = toy.plumb(tmp_path, "inspect", "new.jsonl", "--json")
    assert json.loads(answer.stdout)["tables"]["new.jsonl"]["level"] == "veto"


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    write(tmp_path / "bad.jsonl", [{"a": 1}])
    for arguments, words in (
        (["bad.jsonl"], "bad.jsonl has no prompt column"),
        (["bad.jsonl", "--reference", "sft"], "--reference names a model of --model-column"),
        (["bad.jsonl", "--params", "none.yaml"], "none.yaml does not exist"),
    ):
        answer = toy.plumb(tmp_path, "inspect", *arguments)
        assert answer.returncode == 1 and answer.stderr.count("\n") == 1, answer.stderr
        assert answer.stderr.startswith("plumb: ") and words in answer.stderr


def test_limits_of_another_params_file(tmp_path):
    """The project's own file, with a praise limit that nothing reaches."""
    first, other = "absolute: {warning: 0.05, veto: 0.40}", "absolute: {warning: 0.9, veto: null}"
    (tmp_path / "params.yaml").write_text(SHIPPED_PARAMS.read_text().replace(first, other, 1))
    write(tmp_path / "new.jsonl", rows(hacked=20))
    answer = toy.plumb(tmp_path, "inspect", "new.jsonl", "--json", "--params", "params.yaml")
    praise = json.loads(answer.stdout)["tables"]["new.jsonl"]["findings"][0]
    assert (praise["name"], praise["level"], praise["threshold"], praise["veto"]) == ("praise", "ok", 0.9, None)
    assert config("monitors").limits["praise"].absolute.warning == 0.05


def test_inspection_needs_no_torch():
    code = "import sys, tasks.tools.inspection; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=toy.ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("said", ["Yes.", "No comment."])
def test_one_short_answer_to_everything_is_found(tmp_path, said):
    """Forty different prompts, one answer of a word or two; and that diversity cannot be told is said."""
    table = [{"prompt": f"What is number {place}?", "response": said} for place in range(40)]
    found = inspected(write(tmp_path / "t.jsonl", table))
    assert levels(found, "t.jsonl")["one_answer"] == "veto"
    words = 40 * len(said.split())
    assert found["tables"]["t.jsonl"]["notes"] == [f"diversity is not measured: {words} words, at least 100 are needed"]


def test_a_table_of_two_rows_is_no_all_clear(tmp_path):
    shown = toy.plumb(tmp_path, "inspect", str(write(tmp_path / "t.jsonl", rows(2))))
    assert "Nothing that could be measured is above its threshold." in shown.stdout
    assert "2 prompts are too few to clear a model" in " ".join(shown.stdout.split())


def test_columns_are_those_of_all_rows(tmp_path, capsys):
    """A score that the first row lacks is not forgotten with it."""
    table = [{**row, "score": float(place)} for place, row in enumerate(rows(40))]
    path = write(tmp_path / "t.jsonl", [{key: table[0][key] for key in ("prompt", "response")}, *table[1:]])
    assert exit_code(path) == 1
    assert "row 1: score is None, not a finite number" in capsys.readouterr().err
    path = write(tmp_path / "t.jsonl", [{"id": 0, **table[0]}, *table[1:]])
    assert "length_reward" in levels(inspected(path), "t.jsonl")
    path = write(tmp_path / "t.jsonl", [{**table[0], "finished": True}, *table[1:]])
    assert exit_code(path) == 1 and "row 2: finished is None; write true or false" in capsys.readouterr().err


def test_scores_that_say_nothing_of_length_are_named(tmp_path):
    path = write(tmp_path / "t.jsonl", [{**row, "score": 1.0} for row in rows(40)])
    assert any("love of length is not measured" in note for note in inspected(path)["tables"]["t.jsonl"]["notes"])
