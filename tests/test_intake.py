"""Rows of the inbox, one by one: good, known already, or quarantined with line and reason."""

import gzip
import json
import random
from pathlib import Path

import pytest

from tasks.config import DataConfig, IntakeConfig, PrepareConfig
from tasks.errors import DataError
from tasks.held_data import Forgotten, HeldData, Rules, digest_of
from tasks.inbound import Parsed, Problem, Refused, kind_of, parse
from tasks.intake import Inbound, admit, append_rows
from tasks.intake_ledger import Entry, ObjectLedger, by_reason, states_in
from tasks.prepare import prepare
from tasks.rows import read_jsonl, write_jsonl

NEAR = {"words": 3, "resemblance": 0.8, "containment": 0.9, "contained_words": 8}
INTAKE = {"inbox": None, "remote": "store", "verdicts": "verdicts.jsonl", "max_object_mb": 1.0, "max_object_rows": 50,
          "max_row_characters": 2000, "attempts": 3, "near_repeats": NEAR}
SHARES = {"sft": 0.3, "compare": 0.15, "rl": 0.2, "select": 0.1, "gate": 0.15, "preferences": 0.3, "gold": 0.0}
DATA = {"path": ".", "demonstrations": "demos.jsonl", "prompts": "prompts.jsonl", "preferences": "prefs.jsonl",
        "bad_rows": "refuse", "max_characters": 1000, "splits": SHARES}
GATE_PROMPT = "Which day of the week comes right after Monday?"
PROMPTS = [
    {"id": "c", "split": "compare", "root": "cats", "prompt": "Why do cats purr?"},
    {"id": "r", "split": "rl", "root": "bread", "prompt": "How is bread made?"},
    {"id": "s", "split": "select", "root": "river", "prompt": "What is the name of the longest river?"},
    {"id": "g", "split": "gate", "root": "days", "prompt": GATE_PROMPT},
]
DEMO = {"prompt": "Say hello to my aunt", "completion": "Hello, aunt!"}
PAIR = {"prompt": "Name a colour", "chosen": "Blue.", "rejected": "No."}
VERDICT = {"prompt_id": "c", "first": "c#0", "second": "c#1", "annotator": "ann", "verdict": "first"}


def intake_config(**changes) -> IntakeConfig:
    return IntakeConfig(**{**INTAKE, **changes})


@pytest.fixture()
def folder(tmp_path):
    write_jsonl(tmp_path / "demos.jsonl", [{"id": "d0", "split": "sft", "prompt": "Wave to me", "completion": "I wave."}])
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    write_jsonl(tmp_path / "prefs.jsonl", [{"id": "f0", "split": "preferences", **PAIR}])
    return tmp_path


def held(folder: Path, forgotten=Forgotten(), **data) -> HeldData:
    return HeldData(folder, Rules(DataConfig(**{**DATA, **data}), intake_config(), ("instruction", "safety")), forgotten)


def lines(*rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def taken(kind: str, *rows, into: HeldData):
    """What becomes of the rows of one object."""
    parsed = parse(f"{kind}/x.jsonl", lines(*rows), intake_config())
    (outcome,) = admit([Inbound("in/x.jsonl@v1", kind, parsed)], into, intake_config().near_repeats)
    return outcome


# --- an object, whatever it is ---


@pytest.mark.parametrize(("name", "kind"), [
    ("demonstrations/2026/a.jsonl", "demonstrations"), ("preferences/a.jsonl.gz", "preferences"),
    ("verdicts-monday.csv", "verdicts"), ("team/preferences.jsonl", "preferences"),
])  # fmt: skip
def test_the_key_says_the_kind(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", [
    "../demonstrations/a.jsonl", "demonstrations/../../a.jsonl", "/demonstrations/a.jsonl", "demonstrations//a.jsonl",
    "demonstrations/a\x00.jsonl", "demonstrations\\..\\a.jsonl", "demonstrations/./a.jsonl", "demonstrations/a\n.jsonl",
])  # fmt: skip
def test_a_key_cannot_leave_its_folder(name):
    with pytest.raises(Refused, match="empty parts, dots alone, backslashes or control characters"):
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
    ("demonstrations/a.jsonl.gz", gzip.compress(b" " * 2_000_000), "unpacked it has more than intake.max_object_mb=1"),
    ("demonstrations/a.jsonl.gz", gzip.compress(b"{}")[:-9], "cannot be unpacked"),
    ("demonstrations/a.jsonl.gz", b"{}", "cannot be unpacked"),
    ("verdicts/a.csv", b"prompt_id,first\n", "no column second, annotator, verdict"),
    ("verdicts/a.csv", b"prompt_id,first,second,annotator,verdict\na,b,c,d,\xff\n", "not UTF-8 (line 2)"),
    ("verdicts/a.csv", b"prompt_id,first,second,annotator,verdict\n" + b"x" * 140_000, "line 2: field larger"),
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
    parsed = parse("demonstrations/a.jsonl", b'\xef\xbb\xbf' + '{"a": "x\u2028y\x85z"}\n'.encode(), intake_config())
    assert [one.row for one in parsed.rows] == [{"a": "x\u2028y\x85z"}]


def test_gzipped_rows_in_several_members():
    data = gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"a": 2}\n')
    assert [one.line for one in parse("demonstrations/a.jsonl.gz", data, intake_config()).rows] == [1, 2]


def test_verdicts_as_csv():
    text = 'prompt_id,first,second,annotator,verdict\nc,c#0,c#1,"Ann\nB",tie\nc,c#0\nc,c#0,c#1,ann,tie,more\n'
    parsed = parse("verdicts/a.csv", text.encode(), intake_config())
    assert [(one.line, one.row["annotator"]) for one in parsed.rows] == [(3, "Ann\nB")]
    assert parsed.problems == [Problem(4, "not as many columns as the first line"), Problem(5, "not as many columns as the first line")]
    long = f"prompt_id,first,second,annotator,verdict\nc,a,b,{'x' * 2001},tie\n"
    assert "intake.max_row_characters" in parse("verdicts/a.csv", long.encode(), intake_config()).problems[0].reason


# --- rows by themselves ---


def test_a_good_row_is_as_it_was_with_an_id_and_where_it_came_from(folder):
    outcome = taken("demonstrations", {**DEMO, "category": "safety", "note": [1, None], "root": None, "origin": "me"}, into=held(folder))
    (row,) = outcome.rows
    digest = digest_of({"messages": [{"role": "user", "content": DEMO["prompt"]}, {"role": "assistant", "content": DEMO["completion"]}]})
    assert row == {**DEMO, "category": "safety", "note": [1, None], "id": f"demonstrations-{digest[:16]}", "origin": "in/x.jsonl@v1#1"}


@pytest.mark.parametrize(("change", "words"), [
    ({"completion": " "}, "the response is empty"),
    ({"completion": "x" * 981}, "1001 characters, more than data.max_characters=1000"),
    ({"id": "../../etc/passwd"}, "its id has other signs"),
    ({"id": ".hidden"}, "its id has other signs"),
    ({"id": "a/b"}, "its id has other signs"),
    ({"id": ""}, "its id has other signs"),
    ({"id": "x" * 201}, "or more than 200"),
    ({"id": True}, "its id has other signs"),
    ({"id": ["a"]}, "its id has other signs"),
    ({"root": "x" * 201}, "its root is longer than 200"),
    ({"root": "a\x1b[2J"}, "or has control characters"),
    ({"root": {"a": 1}}, "its root is neither text nor a whole number"),
    ({"category": "poetry"}, "its category has no weight in sft.category_weights (instruction, safety)"),
    ({"split": "gate"}, "its split is none of sft; leave it out"),
    ({"split": ["sft"]}, "its split is none of sft"),
    ({"prompt": [{"role": "root", "content": "Be bad"}, {"role": "user", "content": "Hello"}]}, "a role is none of system, user, assistant"),
    ({"prompt": "Tell me: which day of the week comes right after Monday?"}, "nearly repeats the gate prompt 'g' (containment 1.00)"),
    ({"prompt": GATE_PROMPT.upper()}, "nearly repeats the gate prompt 'g' (resemblance 1.00)"),
    ({"root": "days", "split": "sft"}, "it falls into the split 'sft', and rows of the same root are in gate"),
])  # fmt: skip
def test_a_bad_demonstration(folder, change, words):
    outcome = taken("demonstrations", {**DEMO, **change}, into=held(folder))
    assert outcome.rows == [] and len(outcome.problems) == 1 and words in outcome.problems[0].reason
    secrets = [str(value) for value in change.values() if len(str(value)) > 5]
    assert not any(value in outcome.problems[0].reason for value in secrets), "a reason quotes what the row says"


@pytest.mark.parametrize(("change", "words"), [
    ({"prompt_id": "nobody"}, "its prompt_id names no prompt"),
    ({"prompt_id": "g"}, "its prompt is in the split 'gate', which is not judged by people"),
    ({"verdict": "maybe"}, "its verdict is none of first, second, tie"),
    ({"second": "c#0"}, "first and second are the same answer"),
    ({"first": "../c"}, "first is not an id"),
    ({"annotator": ""}, "it has no annotator"),
    ({"annotator": None}, "it has no annotator"),
    ({"annotator": "a\nb"}, "its annotator is longer than 200 characters, or has control characters"),
])  # fmt: skip
def test_a_bad_verdict(folder, change, words):
    outcome = taken("verdicts", {**VERDICT, **change}, into=held(folder))
    assert outcome.rows == [] and words in outcome.problems[0].reason


def test_verdicts_that_contradict_each_other_both_count(folder):
    """The judge of human verdicts makes a tie of them; the same verdict again is a duplicate."""
    outcome = taken("verdicts", VERDICT, {**VERDICT, "verdict": "second"}, VERDICT, into=held(folder))
    assert [row["verdict"] for row in outcome.rows] == ["first", "second"] and outcome.duplicates == 1
    write_jsonl(folder / "verdicts.jsonl", outcome.rows)
    assert taken("verdicts", VERDICT, into=held(folder)).duplicates == 1


def test_rows_that_are_no_rows_never_raise(folder):
    """Whatever stands in the fields, the answer is a reason."""
    draw, into = random.Random(0), held(folder)
    values = [None, True, 0, -1.5, "", "x", [], [None], {}, {"a": []}, [{"role": "user"}], [{"role": 1, "content": 2}],
              [{"role": "user", "content": "hi"}], "\n\nHuman: a\n\nAssistant: b", "\x00", "sft"]
    keys = ["messages", "prompt", "completion", "chosen", "rejected", "id", "root", "category", "split", "origin", *VERDICT]
    rows = [{key: draw.choice(values) for key in draw.sample(keys, draw.randint(0, 8))} for _ in range(3000)]
    for kind in ("demonstrations", "preferences", "verdicts"):
        for start in range(0, len(rows), 50):
            outcome = taken(kind, *rows[start : start + 50], into=into)
            assert len(outcome.rows) + outcome.duplicates + len(outcome.problems) == 50


# --- rows beside others ---


def test_known_rows_are_passed_over_and_ids_are_not_taken_twice(folder):
    known = {"prompt": "Wave to me", "completion": "I wave."}
    outcome = taken(
        "demonstrations", {"id": "d0", **known}, {"id": "other", **known}, known, {"id": "d0", **DEMO}, {"id": "n", **DEMO},
        {"id": "n", **DEMO}, {"id": "n", "prompt": "Say no", "completion": "No."}, {"id": "m", **DEMO}, into=held(folder),
    )  # fmt: skip
    assert [row["id"] for row in outcome.rows] == ["n"] and outcome.duplicates == 5
    assert outcome.problems == [Problem(4, "its id belongs to a row with other content"), Problem(7, "its id belongs to a row with other content")]


def test_the_same_content_in_another_form_is_known(folder):
    messages = [{"role": "user", "content": "Wave to me"}, {"role": "assistant", "content": "I wave."}]
    assert taken("demonstrations", {"messages": messages}, into=held(folder)).duplicates == 1


def test_forgotten_rows_stay_away(folder):
    digest = digest_of({"prompt": [{"role": "user", "content": "Name a colour"}], "chosen": [{"role": "assistant", "content": "Red."}],
                        "rejected": [{"role": "assistant", "content": "No."}]})
    into = held(folder, Forgotten(frozenset({"gone"}), frozenset({digest})))
    assert taken("demonstrations", {"id": "gone", **DEMO}, into=into).problems[0].reason == "the row was forgotten on request"
    outcome = taken("preferences", {**PAIR, "chosen": "Red.", "id": "new"}, PAIR, into=into)
    assert [problem.line for problem in outcome.problems] == [1] and outcome.duplicates == 1


def test_objects_are_checked_against_each_other_in_order(folder):
    """The same rows give the same result however they are spread over objects and intakes."""
    rows = [{**DEMO, "completion": f"Hello {i % 3}!"} for i in range(6)]
    parsed = [parse("demonstrations/x.jsonl", lines(*part), intake_config()) for part in (rows[:4], rows[4:])]
    together = admit([Inbound("a", "demonstrations", parsed[0]), Inbound("b", "demonstrations", parsed[1])], held(folder), intake_config().near_repeats)
    into = held(folder)
    apart = [admit([Inbound(name, "demonstrations", p)], into, intake_config().near_repeats)[0] for name, p in zip("ab", parsed)]
    assert together == apart
    assert [(len(o.rows), o.duplicates) for o in together] == [(3, 1), (0, 2)]


# --- one file for several kinds ---


@pytest.fixture()
def shared(tmp_path):
    """As with Anthropic's preferences: one file serves as demonstrations, prompts and preferences."""
    write_jsonl(tmp_path / "hh.jsonl", [pair(i) for i in range(60)])
    return tmp_path


def pair(number: int, **more) -> dict:
    return {"prompt": f"What do you think of the number {number} and of all its many friends and neighbours?",
            "chosen": "It is fine.", "rejected": "Go away.", **more}


ONE_FILE = {"demonstrations": "hh.jsonl", "prompts": None, "preferences": "hh.jsonl"}


def test_a_row_must_do_for_every_kind_that_is_read_from_its_file(shared):
    outcome = taken("demonstrations", DEMO, into=held(shared, **ONE_FILE))
    assert "preferences are read from the same file: it has no chosen" in outcome.problems[0].reason


def test_a_new_prompt_of_the_gate_must_not_nearly_repeat_what_trains(shared):
    """Prompts are those of the preferences, so new rows become prompts of select and gate.

    All prompts are 16 words, 14 shingles, and differ in one word, 3 shingles: 11 / 17 = 0.65 in common, which is far
    enough at 0.8 and too near at 0.6.
    """
    news = [pair(i) for i in range(100, 150)]
    assert len(taken("preferences", *news, into=held(shared, **ONE_FILE)).rows) == 50
    near = intake_config(near_repeats={**NEAR, "resemblance": 0.6}).near_repeats
    parsed = parse("preferences/x.jsonl", lines(*news), intake_config())
    (outcome,) = admit([Inbound("o", "preferences", parsed)], held(shared, **ONE_FILE), near)
    assert outcome.rows == [] and len(outcome.problems) == 50
    assert all(problem.reason.startswith("nearly repeats the ") and "0.65" in problem.reason for problem in outcome.problems)


def test_of_two_new_rows_the_one_that_trains_goes(tmp_path):
    """Nothing is held yet. Variants of two questions, one of which falls into the gate by its root."""
    write_jsonl(tmp_path / "hh.jsonl", [])
    empty = held(tmp_path / "nothing", **ONE_FILE)
    splits = {i: empty.candidate("preferences", pair(i), "o").split for i in range(200)}
    gate = next(i for i, split in splits.items() if split == "gate")
    trains = next(i for i, split in splits.items() if split == "preferences")
    near = intake_config(near_repeats={**NEAR, "resemblance": 0.6}).near_repeats
    for order in ([trains, gate], [gate, trains]):
        parsed = parse("preferences/x.jsonl", lines(*map(pair, order)), intake_config())
        (outcome,) = admit([Inbound("o", "preferences", parsed)], held(tmp_path / "nothing", **ONE_FILE), near)
        assert [row["prompt"] for row in outcome.rows] == [pair(gate)["prompt"]]
        assert "nearly repeats a new gate prompt" in outcome.problems[0].reason
    # With a row that trains already, the new gate prompt goes.
    write_jsonl(tmp_path / "hh.jsonl", [pair(trains, id="old")])
    (outcome,) = admit([Inbound("o", "preferences", parsed)], held(tmp_path, **ONE_FILE), near)
    assert outcome.duplicates == 1 and "would be a gate prompt, and the row 'old'" in outcome.problems[0].reason


def test_what_intake_lets_in_prepare_reads(shared, tmp_path):
    """Rows of all sorts, added as they are let in: prepare refuses none of them."""
    into = held(shared, **ONE_FILE)
    news = [pair(i, **more) for i in range(100, 150) for more in ({}, {"id": f"n{i}"}, {"chosen": f"Yes {i}."}, {"root": f"r{i % 7}"})][:200]
    rows = [row for start in range(0, 200, 50) for row in taken("preferences", *news[start : start + 50], into=into).rows]
    assert len(rows) > 70
    append_rows(shared / "hh.jsonl", rows)
    data = DataConfig(**{**DATA, **ONE_FILE})
    metrics = prepare(PrepareConfig(data=data), shared, tmp_path / "out")
    assert metrics["rows_preferences"] + metrics["rows_gate"] > 60
    assert {row["id"] for row in read_jsonl(shared / "hh.jsonl") if "id" in row} == {row["id"] for row in rows}


# --- writing ---


def test_rows_are_appended_and_old_bytes_stay(tmp_path):
    for name, old in (("a.jsonl", b'{"a": 1}'), ("b.jsonl", b'{"a": 1}\n'), ("c.jsonl", b""), ("d.jsonl", None)):
        path = tmp_path / name
        if old is not None:
            path.write_bytes(old)
        append_rows(path, [{"z": 1, "b": "\u00e9"}])
        assert path.read_bytes() == {b'{"a": 1}': b'{"a": 1}\n', None: b""}.get(old, old) + '{"b": "\u00e9", "z": 1}\n'.encode()


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

ENTRY = Entry("box", "in/a.jsonl", "e1", None, "2026-01-01T00:00:00Z", 7, "00", "demonstrations", "demos.jsonl", rows=1, good=1)


def test_the_ledger_knows_objects_states_and_tombstones_and_keeps_what_it_does_not_know(tmp_path):
    ledger = ObjectLedger(tmp_path)
    assert ledger.seen == set() and ledger.forgotten == Forgotten()
    ledger.append([(ENTRY, [Problem(3, "bad"), Problem(4, "bad"), Problem(9, "worse"), Problem(7, "bad")])], "m1", "m2")
    ledger.append([(ENTRY, [])], "m2", "m2")
    with open(tmp_path / "objects.jsonl", "a") as file:
        file.write('{"type": "tombstone", "row": "x"}\n{"type": "tombstone", "digest": "d"}\n{"type": "comet", "key": 1}\n')
    again = ObjectLedger(tmp_path)
    assert again.seen == {("box", "in/a.jsonl", "e1")}
    assert again.forgotten == Forgotten(frozenset({"x"}), frozenset({"d"}))
    assert states_in((tmp_path / "objects.jsonl").read_text()) == {"m1", "m2"}
    before = (tmp_path / "objects.jsonl").read_text()
    again.append([(ENTRY, [])], "m2", "m3")
    assert (tmp_path / "objects.jsonl").read_text().startswith(before)
    bad = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["lines"], line["reason"]) for line in bad] == [("3-4, 7", "bad"), ("9", "worse")]


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "object", "key": "a"}'])
def test_a_damaged_ledger_is_named(tmp_path, text):
    (tmp_path / "objects.jsonl").write_text('{"type": "tombstone", "row": "x"}\n' + text + "\n")
    with pytest.raises(DataError, match="objects.jsonl, line 2 is no entry of the ledger of intake; restore the file from git"):
        ObjectLedger(tmp_path)


def test_reasons_are_grouped_in_the_order_of_their_lines():
    problems = [Problem(5, "b"), Problem(1, "a"), Problem(2, "a"), Problem(3, "a")]
    assert by_reason(problems) == [("a", "1-3"), ("b", "5")]
    assert by_reason([]) == []


def test_an_empty_parse_is_fine(folder):
    (outcome,) = admit([Inbound("o", "demonstrations", Parsed([], []))], held(folder), intake_config().near_repeats)
    assert (outcome.rows, outcome.duplicates, outcome.problems) == ([], 0, [])
