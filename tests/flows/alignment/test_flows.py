"""`plumb align` on the toy, whole; and the parts around it that need no Prefect."""

import io
import json
import sys

import pytest

from flows import command
from flows.alignment import results, seeds
from flows.alignment.progress import Board
from flows.costs import calls
from flows.costs.ledger import Entry, Ledger
from flows.graph import running
from flows.graph.clock import in_words, time_left
from flows.graph.live import Tail
from flows.graph.running import StageError, StageRun
from flows.graph.stages import Graph
from flows.storage import data
from tests.support import toy

GRAPH = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


@pytest.mark.parametrize(
    ("left", "cores", "seconds"),
    [
        ({"a": 1, "b": 2, "c": 4, "d": 1}, 1, 8),
        ({"a": 1, "b": 2, "c": 4, "d": 1}, 2, 6),
        ({"c": 4, "d": 1}, 2, 5),
        ({}, 2, 0),
    ],
)
def test_time_left_by_hand(left, cores, seconds):
    assert time_left(GRAPH, left, cores) == seconds


@pytest.mark.parametrize(("seconds", "words"), [(12.4, "12 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")])
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_ledger_keeps_the_last_of_each_stage_and_passes_over_a_torn_line(tmp_path):
    book = Ledger(tmp_path)
    assert book.last() == {}
    for seconds in (1.0, 2.0):
        book.append(Entry("sft", "v", 0.0, seconds))
    with book.path.open("a") as file:
        file.write('{"stage": "sf')
    assert book.last() == {"sft": Entry("sft", "v", 0.0, 2.0)}


def test_the_ledger_tells_what_was_paid_now_from_what_was_stored(tmp_path, monkeypatch):
    """An attempt that fails has paid 2; the next finds 30 answers stored and pays 1; the labels have cost 0.5 in all."""
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    version = session.graph.version("first")
    place = running.folder(session.state, "first", version)
    place.mkdir(parents=True)
    totals = {"answers": 10, "stored": 0, "calls": 12, "input_tokens": 100, "output_tokens": 10, "cost": 2.0}
    (place / "calls.jsonl").write_text("")
    (place / "calls.json").write_text(json.dumps(totals))
    session.fails(StageError("first", "transient", "the line is busy", place / "log.txt"))
    (place / "calls.json").write_text(json.dumps({**totals, "stored": 30, "cost": 1.0, "latency_p50": 0.25}))
    (tmp_path / "toy" / "metrics").mkdir()
    (tmp_path / "toy" / "metrics" / "first.json").write_text('{"calls": 42, "cost": 0.5, "input_tokens": 130}')
    session.ends(StageRun("first", version, "ran", seconds=2.0))
    failed, ran = toy.ledger(tmp_path / "toy")
    assert failed["failed"] and failed["spent"] == failed["money"] == 2.0 and failed["calls"] == 12
    assert (ran["spent"], ran["money"], ran["stored"], ran["calls"], ran["input_tokens"]) == (1.0, 0.5, 30, 42, 130)
    assert ran["latency_p50"] == 0.25 and not ran["failed"] and session.ledger.last()["first"].spent == 1.0


def test_the_ledger_knows_what_a_stage_used_that_returns_a_document(tmp_path, monkeypatch):
    """Gold's judge is asked by stages whose metrics hold no calls: 7 were used for 0.5, of which 2 were made now."""
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    version = session.graph.version("first")
    place = running.folder(session.state, "first", version)
    place.mkdir(parents=True)
    used = {"used_calls": 7, "used_cost": 0.5, "used_input_tokens": 70, "used_output_tokens": 7}
    (place / "calls.jsonl").write_text("")
    (place / "calls.json").write_text(json.dumps({"calls": 2, "cost": 0.1, "stored": 5, "input_tokens": 20, **used}))
    (tmp_path / "toy" / "metrics").mkdir()
    (tmp_path / "toy" / "metrics" / "first.json").write_text('{"verdict": "reject", "panel": {"calls": 9}}')
    session.ends(StageRun("first", version, "ran", seconds=2.0))
    (entry,) = toy.ledger(tmp_path / "toy")
    assert (entry["calls"], entry["money"], entry["input_tokens"], entry["output_tokens"]) == (7, 0.5, 70, 7)
    assert (entry["asked"], entry["spent"], entry["stored"]) == (2, 0.1, 5)


def test_what_an_earlier_attempt_left_is_taken_away(tmp_path):
    for name in calls.FILES:
        (tmp_path / name).write_text("{}\n")
    running.run_command([sys.executable, "-c", ""], tmp_path, "x", tmp_path, 600, running.Processes())
    assert calls.read_calls(tmp_path) == calls.Calls()
    (tmp_path / "calls.json").write_text("{torn")
    (tmp_path / "calls.jsonl").write_text("")
    assert calls.read_calls(tmp_path).totals == {}


def test_tail_reads_each_complete_line_once(tmp_path):
    path = tmp_path / "live.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    line = json.dumps({"done": 1, "total": 4, "unit": "step", "metrics": {"loss": 0.5, "word": "x"}, "time": 7.0})
    path.write_text(line + "\nnonsense\n" + line[:10])
    (report,) = tail.read()
    assert (report.done, report.total, report.metrics, report.time) == (1, 4, {"loss": 0.5}, 7.0)
    with path.open("a") as file:
        file.write(line[10:] + "\n")
    assert len(tail.read()) == 1 and tail.read() == []


def console():
    return command.console(file=io.StringIO(), width=200)


def test_board_in_plain_lines(tmp_path):
    stages = Graph(toy.make_toy(tmp_path)).stages
    out = console()
    with Board(out, stages, dict.fromkeys(stages, 10.0), cores=2) as board:
        board.begins("first", "v", tmp_path)
        report = {"done": 1, "total": 2, "unit": "step", "metrics": {"loss": 0.25}, "time": 1.0}
        (tmp_path / "live.jsonl").write_text(json.dumps(report) + "\n")
        rendered = console()
        rendered.print(board.render())
        board.ends(StageRun("first", "v", "ran", seconds=3.0))
        board.begins("second", "v", tmp_path)
        board.fails(StageError("second", "config", "beta [x] is negative", tmp_path))
    text = out.file.getvalue()
    assert "first starts (0 of 5 stages" in text and "about 40 s to go" in text
    assert "first done in 3 s" in text and "second failed: beta [x] is negative" in text
    assert "step 1/2  loss 0.25" in rendered.file.getvalue()


def test_results_show_missing_axes_as_a_dash_and_brackets_as_they_are(tmp_path):
    (tmp_path / "metrics").mkdir()
    gold = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    models = {"sft": {"gold": gold, "helpfulness": None, "kl": 1.234}, "base": {"gold": gold}}
    examples = [{"prompt": "Can I wash my teddy bear?", "answers": {"sft": "Yes [by hand].\nGently."}}]
    (tmp_path / "metrics" / "evaluate.json").write_text(json.dumps({"models": models, "examples": examples}))
    assert results.columns(tmp_path)[1] == "gold [95% CI]"
    (tmp_path / "metrics" / "gate.json").write_text(json.dumps({"verdict": "reject", "reasons": ["gold [low]"]}))
    rows = results.score_rows(tmp_path)
    assert [row[0] for row in rows] == ["base", "sft"]
    assert rows[1][1:3] == ("0.500 [0.400, 0.600]", "–") and rows[1][7] == "1.23"
    out = console()
    results.show(tmp_path, out)
    for words in ("0.500 [0.400, 0.600]", "Yes [by hand]. Gently.", "Verdict: reject", "gold [low]", "plumb up"):
        assert words in out.file.getvalue()
    assert "| sft | 0.500 [0.400, 0.600] |" in results.as_markdown(tmp_path)


def test_results_show_the_candidate_that_is_a_checkpoint(tmp_path):
    (tmp_path / "metrics").mkdir()
    names = ("base", "dpo", "dpo step-7", "ppo", "ppo step-2", "sft")
    examples = [{"prompt": "Can I wash it?", "answers": {name: f"says {name}" for name in names}}]
    document = {"models": {name: {"gold": {"mean": 0.5}} for name in names}, "examples": examples}
    (tmp_path / "metrics" / "evaluate.json").write_text(json.dumps(document))
    (tmp_path / "metrics" / "gate.json").write_text(json.dumps({"candidate": {"method": "dpo", "checkpoint": "step-7"}}))
    named = ["base", "sft", "dpo", "dpo step-7, candidate", "ppo"]
    assert [row[0] for row in results.score_rows(tmp_path)] == named
    assert list(results.examples(tmp_path)[0][1]) == named and "| dpo step-7, candidate |" in results.as_markdown(tmp_path)
    (tmp_path / "metrics" / "gate.json").unlink()
    assert [row[0] for row in results.score_rows(tmp_path)] == ["base", "sft", "dpo", "ppo"]


def test_results_before_anything_ran(tmp_path):
    out = console()
    results.show(tmp_path, out)
    assert results.score_rows(tmp_path) == [] and "plumb up" in out.file.getvalue()


def seed(low=0.1, sft=0.5, accuracy=0.8, prompts=400):
    models = {"base": {"gold": {"mean": 0.3}}, "sft": {"gold": {"mean": sft}}}
    versus = {name: {"difference": 0.2, "ci_low": low, "ci_high": 0.3} for name in seeds.TRAINED}
    evaluation = {"prompts": prompts, "models": models, "versus_sft": versus}
    return seeds.Seed(3, evaluation, {"accuracy_where_judge_agrees": accuracy})


def test_promises_kept_and_broken():
    assert seeds.broken_promises(seed()) == []
    assert len(seeds.broken_promises(seed(low=0.0))) == 3
    assert "on 399 prompts" in seeds.broken_promises(seed(prompts=399))[0]
    assert "not above base" in seeds.broken_promises(seed(sft=0.3))[0]
    assert "accuracy 0.740" in seeds.broken_promises(seed(accuracy=0.74))[0]
    assert len(seeds.broken_promises(seeds.Seed(0, {}, {}))) == 6
    out = console()
    assert seeds.report([seed(), seed(low=-0.1)], out) == 1
    assert "+0.200 (-0.100 to +0.300)" in out.file.getvalue()


def with_data(folder, remote):
    """The toy with a tracked file in a remote at `remote`, gone from cache and workspace."""
    dvc = ["-m", "dvc"]
    (folder / "data").mkdir()
    (folder / "data" / "rows.txt").write_text("rows")
    toy.command(folder, toy.sys.executable, *dvc, "add", "-q", "data/rows.txt")
    toy.command(folder, toy.sys.executable, *dvc, "remote", "add", "-d", "here", str(remote))
    toy.command(folder, toy.sys.executable, *dvc, "push", "-q")
    (folder / "data" / "rows.txt").unlink()
    toy.shutil.rmtree(folder / ".dvc" / "cache")
    return folder


def test_pull_fetches_what_is_missing_and_only_that(tmp_path):
    folder = with_data(toy.make_toy(tmp_path / "toy"), tmp_path / "remote")
    assert [pointer.name for pointer in data.missing(folder)] == ["rows.txt.dvc"]
    assert [pointer.name for pointer in data.pull(folder)] == ["rows.txt.dvc"]
    assert (folder / "data" / "rows.txt").read_text() == "rows"
    toy.shutil.rmtree(tmp_path / "remote")
    assert data.pull(folder) == [], "nothing is missing, so nobody asks the remote"


def test_an_unreachable_remote_is_one_line(tmp_path):
    folder = with_data(toy.make_toy(tmp_path / "toy"), tmp_path / "remote")
    toy.shutil.rmtree(tmp_path / "remote")
    with pytest.raises(data.PullError, match="'here' is not reachable.*does not exist.*rows.txt.dvc") as caught:
        data.pull(folder)
    assert not caught.value.may_pass and "\n" not in str(caught.value)


def test_a_lost_connection_may_pass():
    error = data._pull_error(ConnectionRefusedError("no"), "data/x.dvc", "s3", "s3://bucket")
    assert error.may_pass and "s3://bucket" in error.message
    assert not data._pull_error(KeyError("odd"), "data/x.dvc", "s3", "s3://bucket").may_pass


def test_no_default_remote(tmp_path):
    folder = with_data(toy.make_toy(tmp_path / "toy"), tmp_path / "remote")
    toy.command(folder, toy.sys.executable, "-m", "dvc", "remote", "default", "--unset")
    with pytest.raises(data.PullError, match="dvc remote default NAME"):
        data.pull(folder)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """A toy after its first `plumb align`, in which one stage failed in passing; and what it printed."""
    folder = toy.make_toy(tmp_path_factory.mktemp("aligned"))
    return folder, toy.plumb(folder, "align", TOY_SECOND="transient once")


def test_align_runs_everything_and_prints_the_result(aligned):
    folder, answer = aligned
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (folder / "out" / "last.txt").read_text() == "A1B1"
    for words in ("last done in", "second failed: the line is busy", "0.500 [0.400, 0.600]", "Yes, by hand."):
        assert words in answer.stdout
    assert "Error logging to API" not in answer.stderr and "Traceback" not in answer.stderr


def test_align_writes_the_ledger(aligned):
    rows = {row["stage"]: row for row in toy.ledger(aligned[0])}
    assert set(rows) == {"first", "side@a", "side@b", "second", "last"}
    assert rows["first"]["calls"] == 3 and rows["first"]["money"] == 0.5
    assert rows["first"]["seconds"] > 0 and rows["first"]["peak_bytes"] > 1e6 and rows["second"]["disk_bytes"] > 4000


def test_a_second_align_runs_nothing(aligned):
    folder, _ = aligned
    before = toy.ledger(folder)
    answer = toy.plumb(folder, "align")
    assert answer.returncode == 0 and "Nothing to do: all 5 stages are current and logged." in answer.stdout
    assert "0.500 [0.400, 0.600]" in answer.stdout
    assert toy.ledger(folder) == before


def test_a_changed_param_runs_in_a_clone_and_leaves_the_project_alone(aligned):
    folder, _ = aligned
    before, params = toy.outs(folder), (folder / "params.yaml").read_text()
    rows = len(toy.ledger(folder))
    answer = toy.plumb(folder, "align", "--set", "second.steps=5")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (folder / "params.yaml").read_text() == params and toy.outs(folder) == before
    assert [row["stage"] for row in toy.ledger(folder)[rows:]] == ["second"], "the rest is restored"
    assert "first restored" in answer.stdout
    again = toy.plumb(folder, "align", "--set", "second.steps=5")
    assert "Nothing to do" in again.stdout


def test_a_config_error_is_not_tried_again(tmp_path):
    folder = toy.make_toy(tmp_path)
    answer = toy.plumb(folder, "align", TOY_FIRST="config")
    assert answer.returncode == 1
    assert answer.stdout.count("first failed: first.value must be small") == 1
    assert "Traceback" not in answer.stdout + answer.stderr
    attempts = list((folder / ".dvc" / "plumb-state" / "runs").glob("first-*/try*"))
    assert len(attempts) == 1
