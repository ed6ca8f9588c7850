"""What intake writes: rows added to data files, and the ledger of objects."""

import gzip
import json
from dataclasses import asdict

import pytest

from tasks.common.errors import DataError
from tasks.common.rows import write_jsonl
from tasks.intake.held_data import Forgotten
from tasks.intake.inbound import Problem
from tasks.intake.ledger import ObjectLedger, by_reason, states_in
from tasks.intake.rows import append_rows
from tests.support.intake_rows import ENTRY

# --- writing ---


def test_rows_are_appended_and_old_bytes_stay(tmp_path):
    for name, old in (("a.jsonl", b'{"a": 1}'), ("b.jsonl", b'{"a": 1}\n'), ("c.jsonl", b""), ("d.jsonl", None)):
        path = tmp_path / name
        if old is not None:
            path.write_bytes(old)
        append_rows(path, [{"z": 1, "b": "\u00e9"}])
        assert (
            path.read_bytes()
            == {b'{"a": 1}': b'{"a": 1}\n', None: b""}.get(old, old) + '{"b": "\u00e9", "z": 1}\n'.encode()
        )


def test_a_gzipped_file_gets_a_member_with_no_time_in_it(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}'))
    old = path.read_bytes()
    append_rows(path, [{"a": 2}])
    assert path.read_bytes().startswith(old) and gzip.decompress(path.read_bytes()) == b'{"a": 1}\n{"a": 2}\n'
    first = path.read_bytes()
    path.write_bytes(old)
    append_rows(path, [{"a": 2}])
    assert path.read_bytes() == first


def test_a_file_that_is_linked_into_the_cache_is_replaced(tmp_path):
    cache, path = tmp_path / "cache", tmp_path / "a.jsonl"
    cache.write_bytes(b'{"a": 1}\n')
    path.hardlink_to(cache)
    append_rows(path, [{"a": 2}])
    assert cache.read_bytes() == b'{"a": 1}\n'


def test_parquet_cannot_be_added_to(tmp_path):
    with pytest.raises(DataError, match="intake adds rows to .jsonl and .jsonl.gz, and a.parquet is neither"):
        append_rows(tmp_path / "a.parquet", [])


# --- the ledger ---


def test_the_ledger_knows_objects_states_and_tombstones_and_keeps_what_it_does_not_know(tmp_path):
    ledger = ObjectLedger(tmp_path)
    assert ledger.is_new(ENTRY.identity, {}.get) and ledger.forgotten == Forgotten()
    ledger.append([(ENTRY, [Problem(3, "bad"), Problem(4, "bad"), Problem(9, "worse"), Problem(7, "bad")])], "m1", "m2")
    ledger.append([(ENTRY, [])], "m2", "m2")
    with open(tmp_path / "objects.jsonl", "a") as file:
        file.write(
            '{"type": "tombstone", "row": "x"}\n{"type": "tombstone", "digest": "d"}\n{"type": "comet", "key": 1}\n'
        )
    again = ObjectLedger(tmp_path)
    assert not again.is_new(("box", "in/a.jsonl", "e1"), {}.get) and again.is_new(("box", "in/a.jsonl", "e2"), {}.get)
    assert again.forgotten == Forgotten(frozenset({"x"}), frozenset({"d"}))
    assert states_in((tmp_path / "objects.jsonl").read_text()) == {"m1", "m2"}
    before = (tmp_path / "objects.jsonl").read_text()
    again.append([(ENTRY, [])], "m2", "m3")
    assert (tmp_path / "objects.jsonl").read_text().startswith(before)
    bad = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["lines"], line["reason"]) for line in bad] == [("3-4, 7", "bad"), ("9", "worse")]


LIMIT = {"intake.max_object_rows": 50}


@pytest.mark.parametrize(("lines", "now", "new"), [
    ([{"refused": "too many", "by": LIMIT}], LIMIT, False),
    ([{"refused": "too many", "by": LIMIT}], {"intake.max_object_rows": 60}, True),
    ([{"refused": "too many", "by": LIMIT}], {}, True),
    ([{"refused": "no kind", "by": {}}], {"intake.max_object_rows": 60}, False),
    ([{"quarantined": 3, "by": {"data.near_repeats": {"words": 3}}}], {"data.near_repeats": {"words": 4}}, True),
    ([{"refused": "too many", "by": LIMIT}, {"good": 60, "by": {}}], {"intake.max_object_rows": 60}, False),
    ([{"refused": "too many"}], LIMIT, True),
    ([{"quarantined": 3}], LIMIT, False),
])  # fmt: skip
def test_what_refused_an_object_says_when_it_is_asked_again(tmp_path, lines, now, new):
    """The last line of an object counts; one written before lines said what refused it is asked once more."""
    entries = [{"type": "object", **asdict(ENTRY), **line} for line in lines]
    for entry, line in zip(entries, lines, strict=True):
        if "by" not in line:
            del entry["by"]
    write_jsonl(tmp_path / "objects.jsonl", entries)
    assert ObjectLedger(tmp_path).is_new(ENTRY.identity, now.get) is new


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "object", "key": "a"}'])
def test_a_damaged_ledger_is_named(tmp_path, text):
    (tmp_path / "objects.jsonl").write_text('{"type": "tombstone", "row": "x"}\n' + text + "\n")
    with pytest.raises(
        DataError, match="objects.jsonl, line 2 is no line of the ledger of intake; restore the file from git"
    ):
        ObjectLedger(tmp_path)


def test_reasons_are_grouped_in_the_order_of_their_lines():
    problems = [Problem(5, "b"), Problem(1, "a"), Problem(2, "a"), Problem(3, "a")]
    assert by_reason(problems) == [("a", "1-3"), ("b", "5")]
    assert by_reason([]) == []
