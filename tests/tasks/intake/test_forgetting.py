"""A row taken out of a data file: it alone goes, the others keep their names; and which bytes still hold it."""

import gzip
import html
import json

import pyarrow
import pyarrow.parquet
import pytest

from flows.forgetting.row_search import RowSearch
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.config.data import DataConfig
from tasks.intake.forgetting import readers_of, take_out
from tasks.intake.held_data import Forgotten, digest_of
from tasks.intake.ledger import ObjectLedger, Tombstone
from tests.support.intake_rows import DATA, DEMO, ENTRY, PROMPTS, VERDICT, held, intake_config, taken

CONFIG = DataConfig(**DATA)
NAMED = [{"id": "a", "prompt": "Who are you?", "completion": "A cat."}, {"id": "b", **DEMO}]
BARE = [{"prompt": f"Question {i}?", "completion": f"Answer {i}."} for i in range(3)]


def test_the_row_goes_and_its_digest_stands_for_it(tmp_path):
    path = tmp_path / "demos.jsonl"
    write_jsonl(path, NAMED)
    before = path.stat().st_ino
    (stone,) = take_out(path, ["demonstrations"], "b", CONFIG)
    content = {"messages": [{"role": "user", "content": DEMO["prompt"]},
                         {"role": "assistant", "content": DEMO["completion"]}]}  # fmt: skip
    assert stone == Tombstone("b", digest_of(content)) and read_jsonl(path) == NAMED[:1]
    assert path.stat().st_ino != before, "the file may be a link into the cache"
    inode = path.stat().st_ino
    assert take_out(path, ["demonstrations"], "b", CONFIG) == [] and path.stat().st_ino == inode


def test_rows_named_by_their_number_keep_their_names(tmp_path):
    path = tmp_path / "demos.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in BARE).encode()))
    (stone,) = take_out(path, ["demonstrations"], "demonstrations-demos-2", CONFIG)
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert rows == [{**BARE[0], "id": "demonstrations-demos-1"}, {**BARE[2], "id": "demonstrations-demos-3"}]
    assert stone.row == "demonstrations-demos-2" and len(stone.digest) == 64


def test_parquet_and_the_names_of_every_reader(tmp_path):
    path = tmp_path / "prefs.parquet"
    rows = [{"prompt": f"Which {i}?", "chosen": "This.", "rejected": "That."} for i in range(2)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert len(take_out(path, ["prompts", "preferences"], "prompts-prefs-1", CONFIG)) == 1
    assert pyarrow.parquet.read_table(path).to_pylist() == [{**rows[1], "id": "preferences-prefs-2"}]


@pytest.mark.parametrize("name", ["v.jsonl", "v.jsonl.gz", "v.parquet"])
def test_after_the_last_row_of_a_file_others_can_be_forgotten(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([VERDICT]), path)
    else:
        lines = (json.dumps(VERDICT) + "\n").encode()
        path.write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    assert len(take_out(path, ["verdicts"], VERDICT["prompt_id"], CONFIG)) == 1
    assert take_out(path, ["verdicts"], "another", CONFIG) == []


def test_rows_come_into_a_file_all_of_whose_rows_were_forgotten(tmp_path):
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    write_jsonl(tmp_path / "demos.jsonl", NAMED[:1])
    take_out(tmp_path / "demos.jsonl", ["demonstrations"], "a", CONFIG)
    assert len(taken("demonstrations", DEMO, into=held(tmp_path)).rows) == 1


def test_verdicts_go_with_their_prompt(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    other = {**VERDICT, "id": "v-2", "prompt_id": "other", "origin": "in/v.csv#3"}
    write_jsonl(path, [{**VERDICT, "id": "v-1"}, other])
    (stone,) = take_out(path, ["verdicts"], "other", CONFIG)
    assert (stone.row, stone.origin) == ("v-2", "in/v.csv#3") and [row["id"] for row in read_jsonl(path)] == ["v-1"]


def test_files_and_their_readers():
    readers = readers_of(DataConfig(**{**DATA, "prompts": None}), intake_config())
    assert readers == {"demos.jsonl": ["demonstrations"], "prefs.jsonl": ["prompts", "preferences"],
                     "verdicts.jsonl": ["verdicts"]}  # fmt: skip


def test_what_is_buried_does_not_come_in_again(tmp_path):
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    write_jsonl(tmp_path / "demos.jsonl", NAMED)
    stones = take_out(tmp_path / "demos.jsonl", ["demonstrations"], "b", CONFIG)
    ledger = tmp_path / "items.intake"
    ObjectLedger(ledger).append([(ENTRY, [])], "m0", "m1")
    ObjectLedger(ledger).bury(stones, "2026-01-01T00:00:00Z", "m1", "m2")
    book = ObjectLedger(ledger)
    assert book.tombstones == stones and book.forgotten == Forgotten(frozenset({"b"}), frozenset({stones[0].digest}))
    assert not book.is_new(ENTRY.identity, {}.get), "the lines before are still there"
    into = held(tmp_path, book.forgotten)
    again = taken("demonstrations", DEMO, {**DEMO, "id": "b", "completion": "Other words"}, into=into)
    assert again.rows == [] and {p.reason for p in again.problems} == {"the row was forgotten on request"}


SECRET = 'My aunt\'s "number" is 12345 & more'
DATA_ROW = json.dumps({"id": "d-1", "prompt": SECRET, "completion": "Thank you."}).encode()


def search():
    search = RowSearch([Tombstone("d-1", None)], others={"Thank you."})
    search.learn(b'{"id": "d-10", "prompt": "Something else entirely"}\n' + DATA_ROW)
    return search


@pytest.mark.parametrize(
    ("content", "held_there"),
    [
        (DATA_ROW, True),
        (gzip.compress(DATA_ROW), True),
        (b'{"id": "d-1#4", "response": "x"}', True),
        (b'{"prompt_id": "d-1"}', True),
        (b'{"id": "d-10"}', False),
        (json.dumps({"examples": [{"prompt": SECRET}]}, indent=1).encode(), True),
        (f"<td>{html.escape(SECRET)}</td>".encode(), True),
        (b'{"rows": {"d-1": 3}}', True),
        (b"Something else entirely", False),  # the row d-10 says it
        (b"Thank you.", False),  # rows that stay say it, too
        (b"PAR1 torn", False),
        (b"\x1f\x8b torn", False),
        (b"\xff\xfe\x00", False),
    ],
)
def test_bytes_that_hold_a_row(content, held_there):
    assert search().holds(content) is held_there


def test_a_row_whose_conversation_is_json_text_is_known_by_what_it_says():
    prompt = [{"role": "user", "content": "Question 1?"}]
    row = {"prompt": json.dumps(prompt), "completion": "Answer 1."}
    content = {"messages": [*prompt, {"role": "assistant", "content": "Answer 1."}]}
    assert RowSearch([Tombstone("demonstrations-demos-2", digest_of(content))]).by_row(json.dumps(row).encode())


def test_a_row_without_an_id_is_known_by_what_it_says():
    content = {"messages": [{"role": "user", "content": "Question 1?"}, {"role": "assistant", "content": "Answer 1."}]}
    search = RowSearch([Tombstone("demonstrations-demos-2", digest_of(content))])
    assert search.by_row(json.dumps(BARE[1]).encode()) and not search.by_row(json.dumps(BARE[2]).encode())
    assert search.is_data(json.dumps(BARE[1]).encode())
