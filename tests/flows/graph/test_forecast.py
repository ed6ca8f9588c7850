"""What the plan foretells, held against what dvc then does."""

import os
import re
import shutil
import time
from pathlib import Path

import pytest
import yaml

from flows import environment
from flows.graph.stages import Graph
from flows.storage import workspace
from tests.support import toy
from tests.support.tracked_runs import project  # noqa: F401

ALL = ("first", "side@a", "side@b", "second", "last")

TRACKED_YAML = """\
stages:
  read:
    cmd: mkdir -p out && cp -r data/set/part out/both && cp data/set/a.txt out/both/a.txt
    deps: [data/set/a.txt, data/set/part]
    outs: [out/both]
  one:
    cmd: cp out/both/a.txt out/one.txt
    deps: [out/both/a.txt]
    outs: [out/one.txt]
  gather:
    cmd: ls out > all.txt
    deps: [out]
    outs: [all.txt]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A toy that was run with first.value 1, then with 2."""
    place = toy.make_toy(tmp_path_factory.mktemp("toy"))
    toy.command(place, "dvc", "repro", "-q")
    set_value(place, 2)
    toy.command(place, "dvc", "repro", "-q")
    return place


def set_value(project, value, steps=3):
    text = toy.PARAMS.replace("value: 1", f"value: {value}").replace("steps: 3", f"steps: {steps}")
    (project / "params.yaml").write_text(text)


def back_to_the_first_value(project):
    set_value(project, 1)


def lock_lost(project):
    (project / "dvc.lock").unlink()


def fresh_clone(project):
    lock_lost(project)
    shutil.rmtree(project / "out")
    shutil.rmtree(project / "metrics")


def fresh_clone_with_its_lock(project):
    shutil.rmtree(project / "out")
    shutil.rmtree(project / "metrics")


def first_output_deleted(project):
    os.remove(project / "out" / "first.txt")


def known_value_and_new_steps(project):
    set_value(project, 1, steps=4)


def a_new_value(project):
    set_value(project, 3)


def an_output_lost_from_the_cache(project):
    (made,) = Graph(project).stages["side@a"].outs
    fresh_clone(project)
    (project / ".dvc" / "cache" / "files" / "md5" / made.md5[:2] / made.md5[2:]).unlink()


def same_lock_but_lost_from_the_cache(project):
    lock = (project / "dvc.lock").read_text()
    an_output_lost_from_the_cache(project)
    (project / "dvc.lock").write_text(lock)


def does(project) -> dict[str, str]:
    """What dvc does with each stage, by its own words."""
    text = toy.command(project, "dvc", "repro")
    found = {}
    for action, pattern in (
        ("current", r"Stage '(\S+)' didn't change, skipping"),
        ("restore", r"Stage '(\S+)' is cached - skipping run"),
        ("run", r"Running stage '(\S+)':"),
    ):
        found |= dict.fromkeys(re.findall(pattern, text), action)
    return found


def foretold(project) -> dict[str, str]:
    return {name: status.action for name, status in Graph(project).plan().items()}


@pytest.mark.parametrize(
    ("change", "run"),
    [
        (back_to_the_first_value, ()),
        (lock_lost, ()),
        (fresh_clone, ()),
        (fresh_clone_with_its_lock, ()),
        (first_output_deleted, ()),
        (known_value_and_new_steps, ("second", "last")),
        (a_new_value, ALL),
        (an_output_lost_from_the_cache, ("side@a", "last")),
        (same_lock_but_lost_from_the_cache, ("side@a", "last")),
    ],
)
def test_the_plan_is_what_dvc_does(project, change, run):
    change(project)
    told = foretold(project)
    assert tuple(name for name in ALL if told[name] == "run") == run
    done = does(project)
    assert {name: done[name] for name in ALL if name not in run} == {n: told[n] for n in ALL if n not in run}
    # What follows a run cannot be known: equal bytes make the rest cheaper than foretold.
    assert not run or done[run[0]] == "run"


def test_reasons_through_restored_stages(project):
    back_to_the_first_value(project)
    plan = Graph(project).plan()
    assert plan["first"].reasons == ("param first.value 2 → 1",)
    assert plan["side@a"].reasons == ("follows first",)
    # The second stage's outputs do not depend on the value, the sides' do.
    assert plan["last"].reasons == ("follows side@a, side@b",)


def test_a_fresh_clone_says_so_once_per_stage(project):
    fresh_clone_with_its_lock(project)
    plan = Graph(project).plan()
    assert plan["second"].reasons == ("outputs are not here",)
    assert plan["side@a"].reasons == ("output out/side-a.txt deleted",)


def test_a_clone_with_other_params_finds_the_cache(project):
    text = (project / "params.yaml").read_text().replace("value: 2", "value: 1")
    clone = workspace.open_workspace(project, environment.state_dir(project), text)
    assert foretold(clone) == dict.fromkeys(ALL, "restore")
    assert does(clone) == dict.fromkeys(ALL, "restore")


def test_plan_counts_neither_time_nor_calls_of_what_is_restored(project):
    back_to_the_first_value(project)
    answer = toy.plumb(project, "plan")
    assert answer.returncode == 0 and answer.stdout.count(" restore ") == 5
    assert "Nothing would be computed; 5 stages would be restored from the cache." in answer.stdout
    assert toy.plumb(project, "status").stdout.count(" in the cache ") == 5


@pytest.fixture()
def tracked(tmp_path):
    """A project whose inputs lie in a folder that dvc tracks, read in parts; run once."""
    project = toy.make_toy(tmp_path / "toy")
    part = project / "data" / "set" / "part"
    part.mkdir(parents=True)
    (part / "b.txt").write_text("b")
    (part.parent / "a.txt").write_text("a")
    toy.command(project, "dvc", "add", "-q", "data/set")
    (project / "dvc.yaml").write_text(TRACKED_YAML)
    toy.command(project, "dvc", "repro", "-q")
    return project


def test_data_that_is_not_pulled_yet_is_known_by_its_pointer(tracked):
    shutil.rmtree(tracked / "data" / "set")
    assert foretold(tracked) == dict.fromkeys(("read", "one", "gather"), "current")
    shutil.rmtree(tracked / "out")
    (tracked / "dvc.lock").unlink()
    told = foretold(tracked)
    # A folder of which only parts are outputs is not foretold.
    assert told == {"read": "restore", "one": "restore", "gather": "run"}
    toy.command(tracked, "dvc", "checkout", "-q", "data/set.dvc")
    done = does(tracked)
    assert (done["read"], done["one"]) == ("restore", "restore")


def test_an_older_state_of_the_data_is_foretold_by_the_pointer(tracked):
    old = (tracked / "data" / "set.dvc").read_text()
    (tracked / "data" / "set" / "a.txt").write_text("new")
    assert foretold(tracked)["read"] == "run", "edited data stays as it is"
    toy.command(tracked, "dvc", "add", "-q", "data/set")
    toy.command(tracked, "dvc", "repro", "-q")
    (tracked / "data" / "set.dvc").write_text(old)
    assert foretold(tracked)["read"] == "restore"


@pytest.fixture()
def ours(tmp_path):
    """Our own graph with all its dependencies, each command replaced by one that only writes the outputs; run once."""
    project = toy.make_toy(tmp_path / "project")
    for code in ("tasks", "models"):
        shutil.copytree(toy.ROOT / code, project / code, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("hearth", "hearth-base", "champion"):
        (project / "data" / folder).mkdir(parents=True)
        (project / "data" / folder / "rows").write_text(folder)
    shutil.copy(toy.ROOT / "params.yaml", project / "params.yaml")
    graph = yaml.safe_load((toy.ROOT / "dvc.yaml").read_text())
    for name, stage in graph["stages"].items():
        stage = stage.get("do", stage)
        stage["cmd"] = " && ".join(writes(path, name) for path in stage["outs"] + stage.get("metrics", []))
    (project / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    toy.command(project, "dvc", "repro", "-q")
    return project


def writes(path: str, text: str) -> str:
    file = path if Path(path).suffix else f"{path}/rows"
    return f"mkdir -p {Path(file).parent} && echo '\"{text}\"' > {file}"


@pytest.mark.slow  # dvc takes a second per stage to write a lock of this size
def test_our_graph_in_a_fresh_clone_is_foretold_within_three_seconds(ours):
    shutil.rmtree(ours / "artifacts")
    (ours / "dvc.lock").unlink()
    plan, seconds = timed_plan(ours)
    assert {status.action for status in plan.values()} == {"restore"} and seconds < 3
    params = (ours / "params.yaml").read_text()
    (ours / "params.yaml").write_text(workspace.change_params(params, {"dpo.beta": "0.25"}))
    plan, seconds = timed_plan(ours)
    run = {name for name, status in plan.items() if status.action == "run"}
    assert run == {"dpo", "answers@dpo", "evaluate", "monitors", "select", "gate", "package", "report"} and seconds < 3


def timed_plan(project):
    import dvc.repo  # noqa: F401  imports are not the plan's

    began = time.process_time()
    return Graph(project).plan(), time.process_time() - began
