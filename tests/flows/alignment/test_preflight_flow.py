"""The preflight around a run: it ends `plumb align` before any stage, is known later, and `plumb plan` reads it."""

import json

import pytest
import yaml

from flows.alignment import preflight
from flows.cli import doctor
from flows.graph.running import Processes, StageError, folder
from flows.graph.stages import Graph
from tests.import_closure import ROOT
from tests.support import toy
from tests.support.endpoints import ENDPOINT
from tests.support.judge_questions import longer_wins
from tests.support.judge_server import Faults, JudgeServer
from tests.support.small_project import hearth_project, small_params, under_version_control

FAST = {"concurrency": 2, "attempts": 3, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.02}
JUDGING = ["sft", "generate", "compare", "judge", "gate"]


def write_params(folder, **sections):
    params = small_params()
    params["anchors"]["file"] = None
    for section, values in {"compare": {"judges": [ENDPOINT], "asking": FAST}, **sections}.items():
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small project on hearth with one judge across a network, never run."""
    place = hearth_project(tmp_path_factory.mktemp("project") / "p")
    write_params(place)
    return under_version_control(place)


class Asked:
    """`before_stages` in a project, with a state of its own."""

    def __init__(self, project, state, monkeypatch):
        self.root, self.state = project, state
        self.graph = Graph(project)
        monkeypatch.chdir(project)
        monkeypatch.setenv("PLUMB_STATE", str(state))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def __call__(self, names=JUDGING, may_ask=True):
        return preflight.before_stages(self.root, self.state, self.graph, names, may_ask, 120, Processes())

    def report(self, names=JUDGING):
        return preflight.report(self.root, self.state, self.graph, names)


@pytest.fixture
def before(project, tmp_path, monkeypatch):
    write_params(project)
    return Asked(project, tmp_path / "state", monkeypatch)


def test_align_ends_before_any_stage_with_all_problems_and_their_ways_out(project, before):
    """An unset variable ended a run in `compare`, a row too long in `sft`, another in `dpo`."""
    write_params(project, sft={"max_length": 60}, dpo={"max_length": 20})
    state = project / ".dvc" / "plumb-state"
    ended = toy.plumb(project, "align")
    assert ended.returncode == 1 and "Traceback" not in ended.stdout + ended.stderr
    said = ended.stdout
    assert "3 problems, found before any stage ran:" in said and said.count("PLUMB_JUDGE_URL") == 1
    for words in ("compare.judges: remote: judge 'remote' needs its endpoint's address",
                  "→ set the variable PLUMB_JUDGE_URL",
                  "38 of 40 rows are longer than 60 tokens", "→ raise sft.max_length",
                  "answers to compare_prompts, dpo: 12 of 12 rows", "→ raise dpo.max_length"):
        assert words in said
    assert "gate: 12 prompts of 12 roots are fewer than gate.minimum_prompts=100" in said, "notes are shown"
    assert not (project / "artifacts").exists() and not (project / "dvc.lock").exists()
    assert {path.name.split("-")[0] for path in (state / "runs").iterdir()} == {"preflight"}
    (entry,) = toy.ledger(project)
    assert (entry["stage"], entry["calls"]) == ("preflight", 0) and entry["run"]


@pytest.mark.slow
def test_doctor_asks_a_judge_and_a_run_where_it_needs_it_and_nonsense_ends_that_before_any_sample(before, monkeypatch):
    """What was found is known the next time; what the judge answers is not, and is stored nowhere."""
    with JudgeServer(longer_wins) as server:
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        listed = list(doctor.check_preflight(before.root))
        assert [one.level for one in listed] == ["note"] * 5 + ["ok"] and len(server.calls) == 1
        assert all(one.subject == "preflight" and one.remedy for one in listed[:-1])
        (entry,) = [json.loads(line) for line in (before.state / "ledger.jsonl").read_text().splitlines()]
        assert entry["calls"] == entry["asked"] == 1 and entry["spent"] == pytest.approx(120e-6)
        known = before(["sft", "package"])
        assert known.cost is None and len(known.notes) == 5, "no process, nobody asked"
        assert before(may_ask=False).cost is None, "the budget of the run is spent"
        assert before([]) is None and len(server.calls) == 1
        assert before.report()[0].startswith("Preflight of 20") and "no problems, 5 notes" in before.report()[0]
        documents = list(before.state.rglob("found.json"))
        assert len(documents) == 1 and server.url not in documents[0].read_text()
        write_params(before.root, dpo={"beta": 0.2}, flow={"retries": 1})
        assert "is stale (changed since: params (dpo)): plumb doctor runs it now" in before.report()[0]
        write_params(before.root)
        monkeypatch.setenv("PLUMB_JUDGE_URL", f"{server.url}/")
        assert "is stale (changed since: variable PLUMB_JUDGE_URL)" in before.report()[0]
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        server.reset(Faults(malformed=1.0))
        found = before()
        assert len(server.calls) == 1 == found.cost.calls == found.metrics["preflight/calls"], "asked anew"
    with pytest.raises(StageError) as error:
        found.check()
    said = error.value.message
    assert "1 problem, found before any stage ran:\ncompare.judges: remote: it answers an easy question so that it cannot" in said
    assert error.value.kind == "data" and "  → give the judge a template" in said
    assert before.report()[1].startswith("  compare.judges: remote: it answers an easy question")
    assert not (before.state / "verdicts.sqlite").exists()


def test_what_changed_is_named(before, project, monkeypatch):
    assert before.report() == [f"No preflight has run yet: {preflight.HOW_TO_RUN}."]
    parts = preflight.parts_of(project, before.graph)
    place = folder(before.state, "preflight", preflight._digest(parts))
    place.mkdir(parents=True)
    written = {"findings": [], "parts": parts, "written": 0, "roles": ["compare"], "variables": {}, "files": {}}
    (place / "found.json").write_text(json.dumps(written))
    assert "no problems, no notes" in before.report(["compare"])[0]
    assert "changed since: gold is needed too" in before.report(["compare", "gate"])[0]
    for changed, name in ((project / "data" / "more.jsonl", "data"), (project / "base" / "more.txt", "model"),
                          (project / "models" / "more.py", "code")):
        changed.write_text("1")
        said = preflight.report(project, before.state, Graph(project), ["compare"])
        assert f"is stale (changed since: {name}):" in said[0]
        changed.unlink()
    (place / "found.json").write_text(json.dumps({**written, "files": {"people.csv": "0"}}))
    assert "changed since: file people.csv" in before.report(["compare"])[0]


def test_plan_forecasts_judges_that_were_never_asked_and_asks_nobody(project, before):
    """12 prompts with 12 samples, rated once each, and 3 pairs in 2 orders; gold rates 6 samples of each prompt, 4
    models with 2 snapshots and a pool of 4, second turns, and both sides of the gate."""
    gold = {"kind": "judge", "judge": {**ENDPOINT, "name": "g", "model": "another"}}
    write_params(project, gold=gold)
    with JudgeServer(longer_wins) as server:
        planned = toy.plumb(project, "plan", PLUMB_JUDGE_URL=server.url, PLUMB_STATE=str(before.state))
        assert planned.returncode == 0, planned.stderr
        assert server.calls == []
    said = " ".join(planned.stdout.split())
    assert "compare │ run │ never run │ ~5 s │ ≤ 216 │ ≤ 0." in said
    assert "judge │ run │ never run │ ~8 s │ ≤ 72 │ ≤ 0." in said
    assert "gate │ run │ never run │ ~18 s │ ≤ 24 │ ≤ 0." in said
    assert "Forecast: judges across a network are asked at most" in said and "an upper bound by prompts, pairs" in said
    assert "No preflight has run yet: plumb doctor runs it now" in said


def test_doctor_looks_at_nothing_that_is_not_here(before, project):
    pointer = project / "data" / "absent.dvc"
    pointer.write_text("outs: [{path: absent, md5: 0123456789abcdef0123456789abcdef}]")
    (found,) = doctor.check_preflight(project)
    assert (found.level, found.remedy) == ("note", "plumb align pulls it and runs it")
    pointer.unlink()
    (project / "tasks" / "preflight").rename(project / "tasks" / "before")
    assert list(doctor.check_preflight(project)) == [], "a commit that knows none"
    (project / "tasks" / "before").rename(project / "tasks" / "preflight")
