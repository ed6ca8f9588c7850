"""Tables in files, and the commands that rate them: `plumb ratings FILE` and `plumb winrate FILE`."""

import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from models.statistics.bootstrap import Bootstrap
from tasks.common.errors import DataError
from tasks.tools.ratings import rate_file, win_rates_of_file
from tasks.tools.tables import read_table
from tests.support import toy

FEW = Bootstrap(resamples=50)


def battle_rows(prompts: int = 30) -> list[dict]:
    """new beats old three times in four and writes longer; mid is between; both orders of each pair."""
    generator, strength = np.random.default_rng(0), {"new": 0.6, "mid": 0.1, "old": -0.5}
    rows = []
    for prompt in range(prompts):
        text = {name: "word " * generator.integers(10, 40) + "\n- item" * generator.integers(0, 3) for name in strength}
        for first in strength:
            for second in strength:
                if first != second:
                    won = generator.random() < 1 / (1 + np.exp(strength[second] - strength[first] - 0.3))
                    rows.append({"prompt_id": f"p{prompt}", "first": first, "second": second,
                                 "winner": "first" if won else "second",
                                 "first_response": text[first], "second_response": text[second]})  # fmt: skip
    return rows


def write(path, rows):
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_every_kind_of_file_gives_the_same(tmp_path):
    rows = battle_rows()
    names = ("b.jsonl", "b.jsonl.gz", "b.parquet", "b.csv")
    found = [rate_file(write(tmp_path / name, rows), style=True, with_elo=True, settings=FEW) for name in names]
    assert found[0] == found[1] == found[2] == found[3]
    assert [row["model"] for row in found[0]["models"]] == ["new", "mid", "old"]
    assert set(found[0]["elo"]) == {"new", "mid", "old"} and found[0]["elo"]["new"]["spread"] > 0
    rates = [win_rates_of_file(tmp_path / name, "old", settings=FEW) for name in names]
    assert rates[0] == rates[1] == rates[2] == rates[3]
    assert [row["model"] for row in rates[0]] == ["mid", "new"]


def test_a_pool_in_a_file(tmp_path):
    path = write(tmp_path / "b.jsonl", battle_rows())
    (row,) = win_rates_of_file(path, "old", ["new"], pool=path, settings=FEW)
    assert not any("no pool" in note for note in row["notes"])


def test_a_file_of_many_models_is_its_own_pool(tmp_path):
    rows = [{**row, "first" if row["second"] == "old" else "second": f"new{number}"}
            for number in range(5) for row in battle_rows() if {row["first"], row["second"]} == {"new", "old"}]
    for count, is_pool in ((5, True), (4, False)):
        some = [row for row in rows if not {f"new{number}" for number in range(count, 5)} & {row["first"], row["second"]}]
        found = win_rates_of_file(write(tmp_path / "b.jsonl", some), "old", settings=FEW)
        assert len(found) == count
        assert all(any(f"the pool is the file itself: {count} models" in note for note in row["notes"]) == is_pool for row in found)


def test_a_ratings_file_without_an_effect_of_order(tmp_path):
    path = write(tmp_path / "b.jsonl", battle_rows())
    assert rate_file(path, settings=FEW)["order_effect"] and rate_file(path, order=False, settings=FEW)["order_effect"] is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.csv", None, "absent.csv does not exist"),
        ("b.txt", "x", "another ending than .jsonl, .jsonl.gz, .json, .parquet, .csv, .tsv"),
        ("b.csv", "", "b.csv has no rows"),
        ("b.csv", "first,second\n", "b.csv has no rows"),
        ("b.csv", "first,second,winner\na,b\n", "row 2: not as many values as the head names"),
        ("b.csv", "first,second,winner\na,b,first\na,b,first,more\n", "row 3: not as many values"),
        ("b.csv", b"first,second\n\xff,b\n", "cannot be read as CSV in UTF-8"),
        ("b.jsonl", "{}\n{", "line 2: invalid JSON"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_plumb_ratings(tmp_path):
    """Runs outside a project; the table, what it means, and JSON."""
    write(tmp_path / "b.csv", battle_rows())
    answer = toy.plumb(tmp_path, "ratings", "b.csv", "--style", "--elo", "--anchor", "old", "--resamples", "50")
    assert answer.returncode == 0, answer.stderr
    said = ("strength [CI]", "180 battles on 30 prompts", "Shown first: +", "Style, log-odds", "Elo depends on")
    assert all(words in answer.stdout for words in said), answer.stdout
    assert "the rank counts the models that are certainly stronger" in answer.stdout
    assert "note: style: headers does not differ" in answer.stdout
    printed = json.loads(toy.plumb(tmp_path, "ratings", "b.csv", "--json", "--resamples", "50", "--seed", "3").stdout)
    assert printed == rate_file(tmp_path / "b.csv", settings=Bootstrap(resamples=50, seed=3))


def test_plumb_ratings_of_groups_and_one_prompt(tmp_path):
    rows = [{"prompt_id": 1, "first": a, "second": b, "winner": "tie"} for a, b in (("a", "b"), ("c", "d"))]
    answer = toy.plumb(tmp_path, "ratings", str(write(tmp_path / "b.jsonl", rows)))
    assert answer.returncode == 0, answer.stderr
    assert "group" in answer.stdout and "nothing ranks across them: 1: a, b; 2: c, d" in answer.stdout
    assert "no intervals and no ranks" in answer.stdout and "certainly stronger" not in answer.stdout


def test_plumb_winrate(tmp_path):
    write(tmp_path / "b.jsonl", battle_rows())
    arguments = ("winrate", "b.jsonl", "--against", "old", "--resamples", "50")
    answer = toy.plumb(tmp_path, *arguments, "--pool", "b.jsonl")
    assert answer.returncode == 0, answer.stderr
    assert "length-adjusted" in answer.stdout and "mid" in answer.stdout
    printed = json.loads(toy.plumb(tmp_path, *arguments, "--model", "new", "--json").stdout)
    assert printed == win_rates_of_file(tmp_path / "b.jsonl", "old", ["new"], settings=FEW)
    assert 0.6 < printed[0]["raw"]["value"] < 0.9


def test_plumb_winrate_without_lengths(tmp_path):
    rows = [{key: row[key] for key in ("prompt_id", "first", "second", "winner")} for row in battle_rows(5)]
    answer = toy.plumb(tmp_path, "winrate", str(write(tmp_path / "b.jsonl", rows)), "--against", "old")
    assert answer.returncode == 0 and "note (mid, new): lengths are unknown" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ratings", "absent.csv"], "absent.csv does not exist"),
        (["ratings", "b.jsonl", "--anchor", "gpt"], "anchor 'gpt' has no battles"),
        (["winrate", "b.jsonl", "--against", "gpt"], "'gpt' has no battles; the table has mid, new, old"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, arguments, words):
    write(tmp_path / "b.jsonl", battle_rows(2))
    answer = toy.plumb(tmp_path, *arguments)
    assert answer.returncode == 1 and words in answer.stderr
    assert answer.stderr.startswith("plumb: ") and answer.stderr.count("\n") == 1


def test_long_fields_are_read_and_the_limit_of_the_process_stays(tmp_path):
    before = csv.field_size_limit()
    (tmp_path / "a.csv").write_text("prompt,response\nq," + "x" * (before + 1) + "\n")
    assert len(read_table(tmp_path / "a.csv")[0]["response"]) == before + 1
    assert csv.field_size_limit() == before
