"""Texts hold U+2028, U+2029, U+0085 and control characters: whatever keeps them as lines gives them back whole."""

import ast
import csv
import json

import pytest

from flows.costs import calls
from flows.costs.ledger import Entry, Ledger
from flows.forgetting.tombstones import tombstones
from flows.graph import running
from flows.graph.live import Tail
from flows.graph.running import StageRun
from flows.storage.objects import rows_of
from models.judges.human import read_verdicts
from tasks.common import progress
from tasks.common.rows import append_jsonl, read_jsonl, write_jsonl
from tasks.intake.inbound import Problem
from tasks.intake.ledger import Entry as ObjectEntry, ObjectLedger, Tombstone, states_in
from tasks.tools.tables import read_table
from tests.import_closure import ROOT
from tests.support import toy
from tests.support.evaluation_rows import answer, prompt

# All that str.splitlines cuts at, but for the two that JSON cannot hold as they are.
TEXT = "one".join("\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e")
ROWS = [{"id": "a", "text": TEXT}, {"id": "b", "text": TEXT}]


def test_rows(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS[:1])
    append_jsonl(tmp_path / "a.jsonl", ROWS[1:])
    assert read_jsonl(tmp_path / "a.jsonl") == ROWS and "\u2028" in (tmp_path / "a.jsonl").read_text()
    assert list(rows_of("a.jsonl", (tmp_path / "a.jsonl").read_bytes())) == ROWS


def test_calls_and_money_of_a_stage(tmp_path, monkeypatch):
    """A judge quotes such a text; what its calls cost is in the ledger all the same."""
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    version = session.graph.version("first")
    place = running.folder(session.state, "first", version)
    write_jsonl(place / "calls.jsonl", [{"key": "k", "raw": TEXT}])
    (place / "calls.json").write_text(json.dumps({"calls": 12, "cost": 2.0, "stored": 3}))
    assert calls.read_calls(place).sample == [{"key": "k", "raw": TEXT}]
    (tmp_path / "toy" / "metrics").mkdir()
    (tmp_path / "toy" / "metrics" / "first.json").write_text('{"calls": 15, "cost": 2.5}')
    session.ends(StageRun("first", version, "ran", seconds=2.0))
    (line,) = toy.ledger(tmp_path / "toy")
    assert (line["asked"], line["spent"], line["calls"], line["money"]) == (12, 2.0, 15, 2.5)


def test_the_ledger_of_costs(tmp_path):
    """Also after a line that was torn: it is lost, and takes no other along."""
    book = Ledger(tmp_path)
    entries = [Entry(TEXT, "v", 0.0, 1.0, spent=0.5, run="r"), Entry("sft", "v", 0.0, 2.0, run="r")]
    book.append(entries[0])
    with book.path.open("a") as file:
        file.write('{"stage": "sf')
    book.append(entries[1])
    assert book.of_run("r") == entries


def test_the_ledger_of_intake(tmp_path):
    """An object's key and a reason hold them; the ledger can be read, added to, and read from a commit."""
    folder = toy.make_toy(tmp_path / "toy")
    ledger = ObjectLedger(folder / "data" / "items.intake")
    entry = ObjectEntry("box", f"in/{TEXT}.jsonl", "e1", None, "2026-01-01", 7, None, "demonstrations", "demos.jsonl")
    ledger.append([(entry, [Problem(3, TEXT)])], "m1", "m2")
    stone = Tombstone("x", None, origin=TEXT)
    ledger.bury([stone], "2026-01-02", "m2", "m3")
    again = ObjectLedger(folder / "data" / "items.intake")
    assert not again.is_new(("box", f"in/{TEXT}.jsonl", "e1"), {}.get) and again.tombstones == [stone]
    assert states_in((folder / "data" / "items.intake" / "objects.jsonl").read_text()) == {"m1", "m2", "m3"}
    (bad,) = read_jsonl(folder / "data" / "items.intake" / "quarantine.jsonl")
    assert bad["reason"] == TEXT and tombstones(folder) == [stone]
    toy.command(folder, "git", "add", "-A")
    toy.command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "ledger")
    (folder / "data" / "items.intake" / "objects.jsonl").unlink()
    assert tombstones(folder) == [stone], "from the commit"


def test_live_reports(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.LIVE_VARIABLE, str(tmp_path))
    tail = Tail(tmp_path / progress.LIVE_FILE)
    for done in (1, 2):
        progress.report(done, 2, TEXT, loss=0.5)
    assert [(one.done, one.unit) for one in tail.read()] == [(1, TEXT), (2, TEXT)]


@pytest.mark.parametrize("name", ["h.jsonl", "h.csv"])
def test_what_people_said(tmp_path, name):
    turns = prompt(0)["prompt"]
    row = {"prompt": turns[0]["content"], "first_text": f"x{TEXT}y", "second_text": "y", "annotator": f"ann{TEXT}lee"}
    write_table(tmp_path / name, [{**row, "verdict": "first"}])
    samples = [{**answer(prompt(0), text, i), "prompt": turns} for i, text in enumerate((f"x{TEXT}y", "y"))]
    judge = read_verdicts("people", tmp_path / name, samples)
    assert judge.counts.used == 1 and judge.counts.broken_lines == 0


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_tables(tmp_path, name):
    write_table(tmp_path / name, ROWS)
    assert read_table(tmp_path / name) == ROWS


def write_table(path, rows):
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# Where str.splitlines is right: file and what it is used on.
CUTS = {
    "flows/alignment/hacking.py": "what a command printed",
    "flows/command.py": "what a command printed",
    "flows/forgetting/keeping.py": "what git printed",
    "flows/forgetting/tombstones.py": "what git printed",
    "flows/serving/verifying.py": "what a command printed",
    "models/hearth/signals.py": "one text, as a reader sees its lines",
    "models/monitors/collapse.py": "one text, as a reader sees its lines",
    "tasks/runner/gpus.py": "what a command printed",
}


def test_no_file_is_cut_into_lines_by_splitlines():
    cutting = set()
    for package in ("benchmarks", "flows", "models", "tasks"):
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            if any(isinstance(node, ast.Attribute) and node.attr == "splitlines" for node in ast.walk(tree)):
                cutting.add(file.relative_to(ROOT).as_posix())
    assert cutting == CUTS.keys(), "use tasks.common.rows, or iterate over the open file"
