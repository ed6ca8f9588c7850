"""No row is lost without a count, and no prompt stands in two splits of which one is held out."""

import datetime
import json

import pyarrow
import pyarrow.parquet
import pytest

from tasks.common.errors import DataError
from tasks.common.rows import parse_jsonl, read_jsonl
from tests.support.prepare_rows import SPLITS, config, data, demonstrations, prepare, prompts, write  # noqa: F401


def repeated(*splits, text="What is  it?"):
    """The same question in several splits, each under a root of its own."""
    return [{"id": f"again-{split}", "prompt": text, "split": split, "root": f"r-{split}"} for split in splits]


@pytest.mark.parametrize("held_out, other", [("gate", "rl"), ("gate", "compare"), ("gate", "select"), ("select", "rl")])
def test_the_same_question_in_a_held_out_split_and_another_is_refused(data, tmp_path, held_out, other):
    again = repeated(held_out)[0]
    write(data / "prompts.jsonl", prompts(again, *repeated(other, text="what IS it?")))
    words = (f"row 'again-{other}' of split '{other}' asks, under another root, what a row of '{held_out}' asks; give "
             f"both one root, or set data.bad_rows to skip, which leaves it out of '{other}'")
    with pytest.raises(DataError) as caught:
        prepare(config(), data, tmp_path)
    assert str(caught.value) == words


def test_a_demonstration_of_a_held_out_question_is_refused(data, tmp_path):
    write(data / "prompts.jsonl", prompts(*repeated("gate")))
    write(data / "demos.jsonl", [*demonstrations("sft", 4), {"prompt": "what is it?", "completion": "x", "split": "sft",
                                                             "root": "own"}])
    with pytest.raises(DataError, match="row 'demonstrations-demos-5' of split 'sft' asks, .* a row of 'gate' asks"):
        prepare(config(), data, tmp_path)


def test_skipping_keeps_the_gates_row_and_counts_the_others(data, tmp_path):
    write(data / "prompts.jsonl", prompts(*repeated(*SPLITS)))
    metrics = prepare(config(bad_rows="skip"), data, tmp_path)
    kept = {split: [row["id"] for row in read_jsonl(tmp_path / f"{split}_prompts.jsonl")] for split in SPLITS}
    assert [split for split in SPLITS if f"again-{split}" in kept[split]] == ["gate"]
    assert metrics["skipped_prompts"] == 3 and metrics["unused_prompts"] == 0
    assert [metrics[f"rows_{split}"] for split in SPLITS] == [2, 2, 2, 3]


def test_what_two_training_splits_share_is_no_leak(data, tmp_path):
    write(data / "prompts.jsonl", prompts(*repeated("compare", "rl")))
    metrics = prepare(config(), data, tmp_path)
    assert metrics["rows_compare"] == metrics["rows_rl"] == 3


def test_another_conversation_that_ends_alike_is_another_prompt(data, tmp_path):
    turn = {"role": "user", "content": "What is it?"}
    longer = [{"role": "user", "content": "Look!"}, {"role": "assistant", "content": "Yes?"}, turn]
    write(data / "prompts.jsonl", prompts({"prompt": [turn], "split": "gate"}, {"prompt": longer, "split": "rl"}))
    assert prepare(config(), data, tmp_path)["rows_rl"] == 3


def test_rows_that_no_stage_of_their_kind_reads_are_counted(data, tmp_path):
    """30 of 60 demonstrations are marked for PPO's prompts, 5 are held out with `select`; one prompt is SFT's."""
    write(data / "demos.jsonl", demonstrations("sft", 25) + demonstrations("rl", 30) + demonstrations("select", 5))
    write(data / "prompts.jsonl", prompts({"prompt": "lost", "split": "sft"}))
    metrics = prepare(config(), data, tmp_path)
    counts = [metrics[name] for name in ("rows_sft", "rows_heldout_demonstrations", "unused_demonstrations")]
    assert counts == [25, 5, 30]
    assert metrics["unused_prompts"] == 1 and metrics["skipped_prompts"] == 0


@pytest.mark.parametrize("row", [
    {"prompt": "x \ud83d", "completion": "y"},
    {"prompt": "x", "completion": "y", "expected_facts": ["\udc00"]},
])
def test_half_a_character_is_a_bad_row(data, tmp_path, row):
    write(data / "demos.jsonl", [*demonstrations("sft", 4), row])
    words = r"demos.jsonl, row 5: it holds half of a character .*: '.ud[8c][30][d0]'; .*data.bad_rows to skip"
    with pytest.raises(DataError, match=words):
        prepare(config(), data, tmp_path)
    assert prepare(config(bad_rows="skip"), data, tmp_path)["skipped_demonstrations"] == 1


def test_a_whole_character_outside_the_basic_plane_is_none(data, tmp_path):
    (data / "demos.jsonl").write_text('{"prompt": "x \\ud83d\\ude00", "completion": "y", "split": "sft"}\n')
    prepare(config(), data, tmp_path)
    assert read_jsonl(tmp_path / "demonstrations.jsonl")[0]["messages"][0]["content"] == "x \U0001f600"


def test_what_json_has_not_is_no_reason_against_a_row_where_nothing_reads_it(data, tmp_path):
    """A picture and a time stamp beside the text; 2024-05-01 as a date in a field that is read is written as text."""
    when = datetime.datetime(2024, 5, 1)
    rows = [{**row, "picture": b"x", "seen": when, "attack": when} for row in demonstrations("sft", 4)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), data / "demos.parquet")
    prepare(config(demonstrations="demos.parquet"), data, tmp_path)
    (row, *_) = read_jsonl(tmp_path / "demonstrations.jsonl")
    assert set(row) == {"id", "root", "category", "split", "messages", "attack"} and row["attack"] == "2024-05-01"


@pytest.mark.parametrize("line", ['{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"a": ' + "1" * 10_000 + "}"],
                         ids=["deep", "long"])
def test_json_that_python_gives_up_on_is_named(line):
    with pytest.raises(DataError, match=r"x.jsonl, line 2: invalid JSON \(a number too long, or nested too deeply\)"):
        parse_jsonl(["{}", line], "x.jsonl")


def test_a_byte_order_mark_is_no_part_of_the_first_row(data, tmp_path):
    rows = "".join(json.dumps(row) + "\n" for row in demonstrations("sft", 4))
    (data / "demos.jsonl").write_text(rows, encoding="utf-8-sig")
    assert prepare(config(), data, tmp_path)["rows_sft"] == 4
    assert len(read_jsonl(data / "demos.jsonl")) == 4
