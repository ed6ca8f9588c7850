"""A team's data in the forms that people have it in, checked and split by root."""

import gzip
import json

import pytest

from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl
from tasks.data.marks import MARKS
from tasks.data.reading import Reader
from tasks.data.values import BadRow
from tasks.prepare import split_of
from tests.import_closure import ROOT
from tests.support.prepare_rows import NO_COLUMNS, SHARES, config, prepare, write

HH = ROOT.parent / "shared" / "data" / "hh-rlhf" / "harmless-base-test.jsonl.gz"
PAIR = {"prompt": "q?", "chosen": "good", "rejected": "bad"}


def made(kind, row, marks=None):
    """The one row of ours that a row makes."""
    (content,) = Reader(kind, None, 1.0, marks).contents(row)
    return content


@pytest.fixture()
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "demos.jsonl", [{"prompt": f"do {i}", "completion": f"done {i}"} for i in range(40)])
    write(folder / "prompts.jsonl", [{"prompt": f"ask {i}"} for i in range(200)])
    return folder


@pytest.mark.parametrize("columns", [{"prompt": "questoin"}, {"id": "uid"}, {"system": "persona.text"}])
def test_a_column_that_params_name_and_the_file_lacks(data, tmp_path, columns):
    """A typo: the rows were read in another form, and said nothing."""
    declared = {**NO_COLUMNS, "demonstrations": {"completion": "completion", **columns}}
    with pytest.raises(DataError, match=r"data.columns.demonstrations says \w+: (questoin|uid|persona.text), and "
                                        "no row has anything there; the file's columns are prompt, completion"):
        prepare(config(columns=declared), data, tmp_path)


def test_rows_without_a_split_go_by_the_hash_of_their_root(data, tmp_path):
    metrics = prepare(config(), data, tmp_path)
    parts = {s: read_jsonl(tmp_path / f"{s}_prompts.jsonl") for s in ("compare", "rl", "select", "gate")}
    assert all(parts.values())
    roots = [{row["root"] for row in rows} for rows in parts.values()]
    assert sum(map(len, roots)) == len(set.union(*roots))
    assert metrics["rows_gate"] == len(parts["gate"])


def test_a_held_out_root_is_held_out_in_every_file():
    """Held-out shares lie first in [0, 1), so they do not move with what else a file is shared among."""
    held = {"select": 0.1, "gate": 0.15, "gold": 0.2}
    for i in range(300):
        alone, shared = split_of(f"r{i}", {**held, "sft": 0.55}), split_of(f"r{i}", {**held, "compare": 0.2, "rl": 0.35})
        assert (alone in held) == (shared in held) and (alone == shared or alone == "sft")


def test_all_forms_of_a_preference_mean_the_same():
    user, good, bad = {"role": "user", "content": "q?"}, {"role": "assistant", "content": "good"}, {
        "role": "assistant", "content": "bad"}
    expected = {"prompt": [user], "chosen": [good], "rejected": [bad]}
    assert made("preferences", PAIR) == expected
    assert made("preferences", {"prompt": [user], "chosen": [good], "rejected": [bad]}) == expected
    assert made("preferences", {"chosen": [user, good], "rejected": [user, bad]}) == expected
    hh = {"chosen": "\n\nHuman: q?\n\nAssistant: good", "rejected": "\n\nHuman: q?\n\nAssistant: bad"}
    assert made("preferences", hh, MARKS["hh"]) == expected


def test_all_forms_of_a_demonstration_mean_the_same():
    user, good = {"role": "user", "content": "q?"}, {"role": "assistant", "content": "good"}
    expected = {"messages": [user, good]}
    assert made("demonstrations", {"messages": [user, good]}) == expected
    assert made("demonstrations", {"prompt": "q?", "completion": "good"}) == expected
    assert made("demonstrations", {"prompt": [user], "completion": [good]}) == expected
    assert made("demonstrations", PAIR) == expected


@pytest.mark.parametrize("row, reason", [
    ({"prompt": "q?", "chosen": "same", "rejected": " same"}, "chosen equals rejected"),
    ({"prompt": "q?", "chosen": "a"}, "no rejected"),
    ({"prompt": "q?", "chosen": "", "rejected": "b"}, "response is empty"),
    ({"chosen": "\n\nAssistant: hi\n\nHuman: x", "rejected": "b"}, "does not begin with a human turn"),
    ({"chosen": "\n\nHuman: x\n\nAssistant: a\n\nHuman: y", "rejected": "b"}, "must end with an assistant's turn"),
    ({"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: y"}, "do not share"),
    ({"prompt": 3, "chosen": "a", "rejected": "b"}, "messages must be a string or a list"),
])
def test_a_bad_preference_is_refused(row, reason):
    with pytest.raises(BadRow, match=reason):
        made("preferences", row, MARKS["hh"] if "\n\nHuman:" in row["chosen"] else None)


@pytest.mark.parametrize("row, reason", [
    ({"prompt": ""}, "there is no prompt"),
    ({"note": "q"}, "there is no prompt"),
    ({"prompt": [{"role": "system", "content": "s"}]}, "there is no prompt"),
    ({"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "leaves nothing to answer"),
])
def test_a_row_without_prompt_is_refused(row, reason):
    with pytest.raises(BadRow, match=reason):
        made("prompts", row)


def test_a_bad_row_is_named_with_its_file_and_number(data, tmp_path):
    write(data / "prefs.jsonl", [PAIR, {**PAIR, "rejected": "good"}])
    with pytest.raises(DataError, match=r"prefs.jsonl, row 2: chosen equals rejected"):
        prepare(config(preferences="prefs.jsonl"), data, tmp_path)
    skipping = config(preferences="prefs.jsonl", bad_rows="skip")
    assert prepare(skipping, data, tmp_path)["skipped_preferences"] == 1


def test_duplicate_ids_are_refused(data, tmp_path):
    write(data / "demos.jsonl", [{"id": "a", "prompt": text, "completion": "x"} for text in ("1", "2")])
    with pytest.raises(DataError, match=r"demos.jsonl: id 'a' occurs more than once; ids must be unique"):
        prepare(config(), data, tmp_path)
    rows = [{"id": name, "prompt": f"{i}", "completion": "x"} for i, name in enumerate("aabbcc")]
    write(data / "demos.jsonl", rows)
    with pytest.raises(DataError, match=r"id 'a' \(and 2 more\) occurs more than once"):
        prepare(config(), data, tmp_path)


def test_a_root_in_two_splits_is_refused(data, tmp_path):
    rows = [{"prompt": f"p{i}", "root": "same", "split": s} for i, s in enumerate(("gate", "rl"))]
    write(data / "prompts.jsonl", rows + [{"prompt": f"o{i}"} for i in range(100)])
    with pytest.raises(DataError, match="root 'same' is both in 'gate' and in 'rl'; give all variants"):
        prepare(config(), data, tmp_path)


def test_an_empty_split_is_named(data, tmp_path):
    with pytest.raises(DataError, match="split 'gate'; raise data.splits.gate"):
        prepare(config(splits={**SHARES, "gate": 0.0}), data, tmp_path)


def test_nothing_to_compare_is_named(data, tmp_path):
    with pytest.raises(DataError, match="nothing to compare"):
        prepare(config(splits={**SHARES, "compare": 0.0}), data, tmp_path)


def test_unknown_endings_and_skipped_files_are_named(data, tmp_path):
    (data / "demos.txt").write_text("x")
    with pytest.raises(DataError, match="neither .jsonl"):
        prepare(config(demonstrations="demos.txt"), data, tmp_path)
    write(data / "demos.jsonl", [{"a": 1}])
    with pytest.raises(DataError, match="every row was skipped"):
        prepare(config(bad_rows="skip"), data, tmp_path)


def test_parquet_and_gzip_are_read(data, tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"prompt": f"do {i}", "completion": "done"} for i in range(20)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), data / "demos.parquet")
    with gzip.open(data / "prompts.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"prompt": f"ask {i}"}) + "\n" for i in range(200))
    metrics = prepare(config(demonstrations="demos.parquet", prompts="prompts.jsonl.gz"), data, tmp_path)
    assert metrics["rows_sft"] > 0 and metrics["rows_rl"] > 0


def test_equal_input_gives_equal_bytes(data, tmp_path):
    for name in ("a", "b"):
        prepare(config(), data, tmp_path / name)
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}


@pytest.mark.skipif(not HH.is_file(), reason="the public HH data is not at hand")
def test_anthropics_pairs_are_read_and_the_broken_ones_counted(tmp_path):
    cfg = config(demonstrations=HH.name, prompts=None, preferences=HH.name, bad_rows="skip",
                 splits={**SHARES, "compare": 0.0})
    metrics = prepare(cfg, HH.parent, tmp_path)
    assert metrics["skipped_preferences"] >= 5
    gold = {row["root"] for row in read_jsonl(tmp_path / "gold_preferences.jsonl")}
    trained = {row["root"] for row in read_jsonl(tmp_path / "preferences.jsonl")}
    assert gold and trained and not gold & trained


def test_nulls_count_as_absent_and_are_no_text(data, tmp_path):
    """Parquet with optional columns gives a null in every row that lacks the field."""
    rows = [{"prompt": f"ask {i}", "id": None, "root": None, "category": None} for i in range(200)]
    write(data / "prompts.jsonl", rows)
    prepare(config(), data, tmp_path)
    kept = read_jsonl(tmp_path / "rl_prompts.jsonl")
    assert len({row["root"] for row in kept}) == len(kept) and "None" not in {row["id"] for row in kept}
    with pytest.raises(BadRow, match="must be text"):
        made("demonstrations", {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None}]})
    with pytest.raises(BadRow, match="no rejected"):
        made("preferences", {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": None})


def test_an_unknown_split_is_refused(data, tmp_path):
    write(data / "prompts.jsonl", [{"prompt": "a", "split": "train"}])
    with pytest.raises(DataError, match="row 1: split must be one of pretrain, sft, .*: found 'train'"):
        prepare(config(), data, tmp_path)


def test_an_unreadable_file_is_named(data, tmp_path):
    (data / "prompts.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="prompts.jsonl.gz cannot be read"):
        prepare(config(prompts="prompts.jsonl.gz"), data, tmp_path)
    (data / "prompts.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="prompts.parquet cannot be read"):
        prepare(config(prompts="prompts.parquet"), data, tmp_path)
    (data / "prompts.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="prompts.jsonl cannot be read"):
        prepare(config(), data, tmp_path)


def test_long_conversations_are_bad_rows(data, tmp_path):
    write(data / "prompts.jsonl", [{"prompt": f"ask {i}"} for i in range(200)] + [{"prompt": "x" * 300}])
    with pytest.raises(DataError, match="row 201: the conversation has more characters than data.max_.*=100: 300"):
        prepare(config(max_characters=100), data, tmp_path)
    assert prepare(config(max_characters=100, bad_rows="skip"), data, tmp_path)["skipped_prompts"] == 1
