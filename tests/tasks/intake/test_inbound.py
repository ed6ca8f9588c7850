"""Objects of the inbox, whatever they are: rows with their lines, lines with a reason, or refused as a whole."""

import csv
import gzip
import tracemalloc

import pytest

from tasks.intake.inbound import Problem, Refused, kind_of, parse
from tests.support.intake_rows import intake_config


@pytest.mark.parametrize(("name", "kind"), [
    ("demonstrations/2026/a.jsonl", "demonstrations"), ("preferences/a.jsonl.gz", "preferences"),
    ("verdicts-monday.csv", "verdicts"), ("team/preferences.jsonl", "preferences"),
])  # fmt: skip
def test_the_key_says_the_kind(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", [
    "../demonstrations/a.jsonl", "demonstrations/../../a.jsonl", "/demonstrations/a.jsonl", "demonstrations//a.jsonl",
    "demonstrations/a\x00.jsonl", "demonstrations\\..\\a.jsonl", "demonstrations/./a.jsonl",
])  # fmt: skip
def test_a_key_cannot_leave_its_folder(name):
    with pytest.raises(Refused, match="empty parts, dots alone, backslashes or a null"):
        kind_of(name)


@pytest.mark.parametrize("name", ["a.jsonl", "demonstrationsx/a.jsonl", "x/demonstration.jsonl"])
def test_a_key_that_says_no_kind(name):
    with pytest.raises(Refused, match="below one of demonstrations/, preferences/, verdicts/"):
        kind_of(name)


@pytest.mark.parametrize(("name", "data", "words"), [
    ("demonstrations/a.txt", b"{}", "neither .jsonl nor .jsonl.gz"),
    ("demonstrations/a.csv", b"{}", "neither .jsonl nor .jsonl.gz"),
    ("demonstrations/a.jsonl", b"\n \n", "no rows"),
    ("demonstrations/a.jsonl", b"x" * 1_000_001, "1.0 MB, more than intake.max_object_mb=1"),
    ("demonstrations/a.jsonl", b"{}\n" * 51, "more rows than intake.max_object_rows=50"),
    ("demonstrations/a.jsonl.gz", gzip.compress(b" " * 2_000_000, mtime=0), "unpacked it has more than intake.max_object_mb=1"),
    ("demonstrations/a.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9], "cannot be unpacked"),
    ("demonstrations/a.jsonl.gz", b"{}", "cannot be unpacked"),
    ("verdicts/a.csv", b"prompt_id,first\n", "it has no rows"),
    ("verdicts/a.json", b"[{", "it is not JSON"),
    ("verdicts/a.csv", b"prompt_id,first,second,annotator,verdict\na,b,c,d,\xff\n", "not UTF-8 (line 2)"),
])  # fmt: skip
def test_an_object_is_refused_as_a_whole(name, data, words):
    with pytest.raises(Refused) as refused:
        parse(name, data, intake_config())
    assert words in str(refused.value)


@pytest.mark.parametrize(("line", "words"), [
    (b"{", "invalid JSON (Expecting property name enclosed in double quotes at column 2)"),
    (b"[1]", "expected a JSON object, found list"),
    (b'{"a": "\xe9"}', "not UTF-8 (byte 8 of the line)"),
    (b'{"a": "' + b"x" * 2000 + b'"}', "2009 characters, more than intake.max_row_characters=2000"),
    (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    (b'{"a": 1e999}', "not finite"),
    (b'{"a": NaN}', "not finite"),
    (b"[" * 1999, "nested too deep"),
])  # fmt: skip
def test_a_bad_line_is_quarantined_and_the_others_are_not(line, words):
    if line.startswith(b"[["):
        line = b'{"a":' + b"[" * 100_000
    cfg = intake_config(max_row_characters=200_000 if len(line) > 50_000 else 2000)
    parsed = parse("demonstrations/a.jsonl", b'{"a": 1}\r\n\n' + line + b"\n" + b'{"b": 2}', cfg)
    assert [(one.line, one.row) for one in parsed.rows] == [(1, {"a": 1}), (4, {"b": 2})]
    (problem,) = parsed.problems
    assert problem.line == 3 and words in problem.reason


def test_lines_end_with_newlines_and_nothing_else():
    """Separators that Python's splitlines would split at stand inside of JSON strings."""
    parsed = parse("demonstrations/a.jsonl", b"\xef\xbb\xbf" + '{"a": "x\u2028y\x85z"}\n'.encode(), intake_config())
    assert [one.row for one in parsed.rows] == [{"a": "x\u2028y\x85z"}]


def test_a_million_empty_lines_take_no_more_room_than_their_bytes():
    """Gzipped it is a kilobyte; the 256 MB that an object may have would otherwise become a list of 2 GB."""
    data = gzip.compress(b"\n" * 999_000 + b'{"a": 1}')
    tracemalloc.start()
    try:
        parsed = parse("demonstrations/a.jsonl.gz", data, intake_config())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(one.line, one.row) for one in parsed.rows] == [(999_001, {"a": 1})]
    assert peak < 5_000_000


def test_gzipped_rows_in_several_members():
    data = gzip.compress(b'{"a": 1}\n', mtime=0) + gzip.compress(b'{"a": 2}\n')
    assert [one.line for one in parse("demonstrations/a.jsonl.gz", data, intake_config()).rows] == [1, 2]


def test_verdicts_as_json_lines_by_the_name_of_json():
    parsed = parse("verdicts/a.json", b'{"a": 1}\n{"a": 2}\n[3\n', intake_config())
    assert [(one.line, one.row) for one in parsed.rows] == [(1, {"a": 1}), (2, {"a": 2})]
    assert [one.line for one in parsed.problems] == [3]


def test_one_long_cell_takes_no_other_row_along():
    """Longer than csv takes unless it is told; params may allow it."""
    before, head = csv.field_size_limit(), b"prompt_id,first,second,annotator,verdict\n"
    data = head + b"c,c#0,c#1,ann,tie\nc,c#0,c#1," + b"x" * (before + 1) + b",tie\n"
    parsed = parse("verdicts/a.csv", data, intake_config())
    assert [one.line for one in parsed.rows] == [2] and [one.line for one in parsed.problems] == [3]
    assert parsed.problems[0].by == "intake.max_row_characters" and csv.field_size_limit() == before
    assert len(parse("verdicts/a.csv", data, intake_config(max_row_characters=2 * before)).rows) == 2


def test_verdicts_as_csv():
    text = 'prompt_id,first,second,annotator,verdict\nc,c#0,c#1,"Ann\nB",tie\nc,c#0\nc,c#0,c#1,ann,tie,more\n'
    parsed = parse("verdicts/a.csv", text.encode(), intake_config())
    assert [(one.line, one.row["annotator"]) for one in parsed.rows] == [(3, "Ann\nB")]
    assert parsed.problems == [
        Problem(4, "not as many columns as the first line"),
        Problem(5, "not as many columns as the first line"),
    ]
    long = f"prompt_id,first,second,annotator,verdict\nc,a,b,{'x' * 2001},tie\n"
    assert "intake.max_row_characters" in parse("verdicts/a.csv", long.encode(), intake_config()).problems[0].reason
