"""Where projects may lie: folders and buckets' prefixes with signs of DVC's, git's and SQLite's own, and monorepos."""

import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.config import Config
from dvc.repo import Repo

from flows import environment
from flows.history import experiments
from flows.storage import commit_clone, data, workspace
from tests.support import toy
from tests.support.ports import free_port

NAMES = [
    "a,b",
    "[cache] dir = x",
    "50%20 #1; x=y",
    "it's \"both\"",
    " käse ",
]
PREFIXES = ["runs,2026", "[a] #1", "50%/x=y;z", "it's \"both\" "]


@pytest.fixture(params=NAMES)
def project(request, tmp_path):
    folder = tmp_path / request.param / "toy"
    folder.parent.mkdir()
    folder = toy.make_toy(folder)
    settings = workspace.local_settings(folder)
    settings['remote "store"'] = {"url": str(folder.parent / "store")}
    settings.write()
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_make_sets_a_clone_up_there(tmp_path, name):
    """The lines of the Makefile, with programs that only write down where Prefect's files would go."""
    folder, python = tmp_path / name, tmp_path / "python"
    folder.mkdir()
    for file in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(toy.ROOT / file, folder)
    program = """printf '#!/bin/sh\\nprintf %%s "$PREFECT_HOME" > home\\n'"""
    python.write_text(
        f"#!/bin/sh\nmkdir -p .venv/bin && cd .venv/bin && {program} | tee python > prefect && chmod +x python prefect\n"
    )
    python.chmod(0o755)
    toy.command(folder, "make", "setup", f"PYTHON={python}")
    assert (folder / "home").read_text() == str(folder / ".prefect")


def test_a_relative_store_is_one_file_for_the_project_and_its_clones(tmp_path):
    project = toy.make_toy(tmp_path / "toy")
    answer = toy.plumb(project, "align", "--set", "first.value=2", MLFLOW_TRACKING_URI="sqlite:///other.db")
    assert answer.returncode == 0, answer.stderr
    assert [*project.rglob("other.db")] == [project / "other.db"]


@pytest.mark.parametrize("names", [("http_proxy",), ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")])
def test_the_servers_of_this_machine_are_asked_past_a_proxy(tmp_path, names):
    project = toy.make_toy(tmp_path / "toy")
    proxy = {name: "http://127.0.0.1:9" for name in names}
    answer = toy.plumb(project, "align", **proxy, no_proxy="", NO_PROXY="")
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({}, "127.0.0.1,localhost"), ({"NO_PROXY": "a.org"}, "a.org,127.0.0.1,localhost"),
        ({"no_proxy": "b.org", "NO_PROXY": "a.org"}, "b.org,127.0.0.1,localhost"), ({"no_proxy": "*"}, "*"),
        ({"no_proxy": "127.0.0.1,localhost,c.org"}, "127.0.0.1,localhost,c.org"),
    ],
)  # fmt: skip
def test_who_else_is_asked_past_a_proxy_stays(tmp_path, monkeypatch, said, meant):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, said.get(name, ""))
    environment.prepare(toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch).root)
    assert os.environ["no_proxy"] == meant


def clones(project):
    state = environment.state_dir(project)
    yield workspace.open_workspace(project, state, toy.PARAMS.replace("value: 1", "value: 2"))
    yield commit_clone.open_commit(project, state, "HEAD", {"first.value": "3"})


def test_clones_share_cache_and_remotes_and_run_there(project):
    for clone in clones(project):
        repo = Repo(str(clone))
        assert Path(repo.cache.local.path) == project / ".dvc" / "cache" / "files" / "md5"
        assert repo.config["remote"]["store"]["url"] == str(project.parent / "store")
        commit_clone.set_default_remote(clone, "store")
        assert Repo(str(clone)).config["core"]["remote"] == "store"
    toy.command(clone, toy.sys.executable, "-m", "dvc", "repro", "-q", "first")
    assert (clone / "out" / "first.txt").read_text() == "3" and any((project / ".dvc" / "cache").rglob("??/*"))
    assert data.push_all(clone, "store") > 0 and any((project.parent / "store").rglob("??/*"))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_addresses_of_buckets_come_through(tmp_path, prefix):
    project = toy.make_toy(tmp_path / "toy")
    url = f"s3://bucket/{prefix}"
    with Config(str(project / ".dvc")).edit("local") as settings:
        settings["remote"] = {"team": {"url": url, "endpointurl": "http://127.0.0.1:9", "profile": "a, b"}}
    for clone in clones(project):
        remote = Config(str(clone / ".dvc"))["remote"]["team"]
        assert (remote["url"], remote["profile"]) == (url, "a, b")


@pytest.mark.parametrize("name", NAMES)
def test_a_store_is_read_without_mlflow(tmp_path, name):
    file = tmp_path / name / "mlflow.db"
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER, name, lifecycle_stage, artifact_location)")
        connection.execute("INSERT INTO experiments VALUES (7, 'toy', 'deleted', 'file:///x')")
    found = experiments.state_in_sqlite(experiments.store_file(f"sqlite:///{file}"), "toy")
    assert found == ("7", "deleted", "file:///x")


@pytest.fixture()
def monorepo(tmp_path):
    """A project of `dvc init --subdir` beside other folders of one git repository."""
    folder = toy.make_toy(tmp_path / "mono" / "models" / "toy")
    toy.shutil.rmtree(folder / ".git")
    top = tmp_path / "mono"
    (top / "lib").mkdir()
    (top / "lib" / "other.py").write_text("")
    toy.command(top, "git", "init", "-q")
    toy.command(top, "git", "add", "-A")
    toy.command(top, "git", "-c", "user.name=toy", "-c", "user.email=toy@example.org", "commit", "-qm", "mono")
    return folder


def test_a_project_in_a_monorepo_has_clones(monorepo):
    (monorepo / "work.py").write_text(toy.WORK + "# mine\n")
    first, second = clones(monorepo)
    assert first.parts[-2:] == second.parts[-2:] == ("models", "toy")
    assert (first.parents[1] / "lib" / "other.py").exists(), "what lies beside it comes along"
    assert [place.joinpath("work.py").read_text().endswith("# mine\n") for place in (first, second)] == [True, False]
    assert (first / "params.yaml").read_text() != (monorepo / "params.yaml").read_text()
    toy.command(second, toy.sys.executable, "-m", "dvc", "repro", "-q", "first")
    assert (second / "out" / "first.txt").read_text() == "3"
    (first / "dvc.lock").write_text("schema: '2.0'\n")
    again, _ = clones(monorepo)
    assert again == first and (first / "dvc.lock").exists()


def test_clones_of_a_moved_project_find_its_objects(tmp_path):
    """Each `--set` with params of before said "unable to normalize alternate object path", for ever."""
    old = toy.make_toy(tmp_path / "old")
    before = list(clones(old))
    new = old.rename(tmp_path / "new")
    after = list(clones(new))
    assert after[0] == new / before[0].relative_to(old), "the clone itself goes on: it holds what it has made"
    for clone in after:
        toy.command(clone, "git", "fsck", "--connectivity-only")
        assert str(new / ".dvc" / "cache") in Repo(str(clone)).cache.local.path


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_commands_of_every_day_work_wherever_the_project_lies(name, tmp_path):
    """plumb up, and beside it align and align --set."""
    folder = tmp_path / name / "toy"
    folder.parent.mkdir()
    folder = toy.make_toy(folder)
    command = [sys.executable, "-m", "flows.cli", "up", f"--prefect-port={free_port()}", f"--mlflow-port={free_port()}"]
    started = subprocess.Popen(command, cwd=folder, env=toy.toy_environment(folder), stdout=subprocess.PIPE, text=True)
    try:
        assert any("Ctrl-C ends all of it" in line for line in started.stdout)
        for arguments in (["align"], ["align", "--set", "second.steps=4"]):
            done = toy.plumb(folder, *arguments)
            assert done.returncode == 0, done.stdout + done.stderr
        shell = f"source {shlex.quote(str(folder / '.prefect' / 'up.env'))} && echo $PREFECT_API_URL"
        assert toy.command(folder, "bash", "-c", shell).startswith("http://127.0.0.1:")
    finally:
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=60) == 0
    assert [path.name for path in tmp_path.iterdir()] == [name] and list((tmp_path / name).iterdir()) == [folder]
