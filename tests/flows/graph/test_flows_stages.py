"""The graph as dvc.yaml draws it, and what is current."""

import os

import pytest

from flows.graph.running import Processes, StageError, folder, run_stage
from flows.graph.stages import Graph, flatten
from tests.support import toy
from tests.support.tracked_runs import finished, project  # noqa: F401


def test_graph_order_edges_and_meta(project):
    graph = Graph(project)
    assert list(graph.stages) == ["first", "side@a", "side@b", "second", "last"]
    assert graph.stages["side@a"].upstream == ("first",)
    assert set(graph.stages["last"].upstream) == {"side@a", "side@b", "second"}
    assert graph.stages["first"].meta == {"pool": "cpu", "seconds": 2}
    assert graph.stages["first"].timeout is None
    assert [out.path for out in graph.stages["second"].outs if out.kind == "metric"] == ["metrics/second.json"]


def test_names_do_not_depend_on_the_working_directory(project, monkeypatch):
    monkeypatch.chdir("/")
    assert list(Graph(project).stages)[0] == "first"


def test_all_current_after_a_run(project):
    graph = Graph(project)
    assert all(status.current for status in graph.plan().values())
    assert all(graph.version(name) == graph.made_version(name) for name in graph.stages)


def test_a_changed_param_names_itself_and_what_follows(project):
    (project / "params.yaml").write_text(toy.PARAMS.replace("steps: 3", "steps: 4"))
    plan = Graph(project).plan()
    assert plan["second"].reasons == ("param second.steps 3 → 4",)
    assert plan["last"].reasons == ("follows second",)
    assert plan["first"].current and plan["side@a"].current


def test_reasons_for_code_command_and_outputs(project):
    (project / "dvc.yaml").write_text(toy.DVC_YAML.replace("python work.py last", "python  work.py last"))
    assert Graph(project).status("last").reasons == ("command or list of dependencies changed",)
    (project / "work.py").write_text(toy.WORK + "\n# changed\n")
    os.remove(project / "out" / "side-a.txt")
    graph = Graph(project)
    assert graph.status("first").reasons == ("code work.py modified",)
    assert "output out/side-a.txt deleted" in graph.status("side@a").reasons


def test_never_run(tmp_path):
    graph = Graph(toy.make_toy(tmp_path))
    assert graph.status("first").reasons == ("never run",)
    assert graph.made_version("first") is None
    assert graph.version("last") is None, "its inputs are not there yet"


def test_version_follows_params_code_and_command_alone(project):
    graph = Graph(project)
    before = {name: graph.version(name) for name in graph.stages}
    (project / "params.yaml").write_text("# a comment\n" + toy.PARAMS)
    graph.refresh()
    assert {name: graph.version(name) for name in graph.stages} == before
    (project / "params.yaml").write_text(toy.PARAMS.replace("steps: 3", "steps: 4"))
    graph.refresh()
    assert {name for name in before if graph.version(name) != before[name]} == {"second"}


def test_params_and_dependencies_of_a_stage(project):
    graph = Graph(project)
    assert graph.params("second") == {"second.steps": 3}
    assert set(graph.dependencies("second")) == {"work.py", "out/first.txt"}


def test_unreadable_dvc_yaml_is_one_line(project):
    (project / "dvc.yaml").write_text("stages: [")
    with pytest.raises(ValueError, match="dvc.yaml") as caught:
        Graph(project)
    assert "\n" not in str(caught.value)


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [2], "e": {}}


def run(project, monkeypatch, stage="first", timeout=600.0, **wishes):
    session = toy.make_session(project, monkeypatch, **wishes)
    place = folder(session.state, stage, "v")
    return run_stage(project, stage, "v", place, timeout, Processes())


def test_run_stage_says_whether_it_ran_or_was_restored(project, monkeypatch):
    assert run(project, monkeypatch).outcome == "current"
    os.remove(project / "out" / "first.txt")
    restored = run(project, monkeypatch)
    assert restored.outcome == "restored" and (project / "out" / "first.txt").read_text() == "1"
    (project / "params.yaml").write_text(toy.PARAMS.replace("value: 1", "value: 2"))
    ran = run(project, monkeypatch)
    assert ran.outcome == "ran" and ran.peak_bytes > 1e6 and 0 < ran.seconds < 600
    assert (project / "out" / "first.txt").read_text() == "2"


@pytest.mark.parametrize(
    ("wish", "kind", "may_pass", "words"),
    [
        ("config", "config", False, "first.value must be small"),
        ("transient once", "transient", True, "the line is busy"),
        ("crash", "internal", False, "exited with 7"),
    ],
)
def test_a_failure_has_its_kind(project, monkeypatch, wish, kind, may_pass, words):
    (project / "params.yaml").write_text(toy.PARAMS.replace("value: 1", "value: 5"))
    with pytest.raises(StageError, match=words) as caught:
        run(project, monkeypatch, TOY_FIRST=wish)
    assert (caught.value.kind, caught.value.may_pass) == (kind, may_pass)
    assert caught.value.log.read_text()


def test_a_stage_that_takes_too_long_is_ended(project, monkeypatch):
    (project / "params.yaml").write_text(toy.PARAMS.replace("value: 1", "value: 6"))
    with pytest.raises(StageError, match="stopped after 2 s; raise"):
        run(project, monkeypatch, timeout=2.0, TOY_SECONDS="600")


def test_stages_get_one_thread_and_this_interpreter(tmp_path, monkeypatch):
    from flows.graph.running import stage_environment

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert stage_environment(tmp_path)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert stage_environment(tmp_path)["OMP_NUM_THREADS"] == "4"
    assert stage_environment(tmp_path)["PLUMB_LIVE"] == str(tmp_path)
