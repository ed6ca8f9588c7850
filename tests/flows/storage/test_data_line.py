"""plumb/data: one line of commits with data and no code, moved by one push that counts or does not."""

import json
import os
import re
import subprocess

import pytest

from flows.failure import Failure
from flows.git import GitError, git
from flows.incoming.intake import newest_data
from flows.storage import data_line
from tasks.config.data import DataConfig
from tasks.intake.held_data import Rules
from tests.support.intake_rows import DATA, intake_config

NAMES = ["data/items.dvc", "data/items.intake"]
RULES = Rules(DataConfig(**{**DATA, "path": "data/items"}), intake_config(), ("instruction",))


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """git that knows no identity and has no settings of its own."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("EMAIL", "")


@pytest.fixture()
def root(tmp_path):
    """A project with code and the pointer to data m0, cloned from `origin`."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    remote = store\n")
    (folder / "code.py").write_text("1\n")
    git(folder, "init", "-q", "-b", "main")
    save(folder, "m0")
    git(folder, "clone", "-q", "--bare", str(folder), str(tmp_path / "origin.git"))
    git(folder, "remote", "add", "origin", "../origin.git")
    return folder


def write(folder, md5: str, *states: str) -> None:
    """Pointer and ledger: the ledger has one line for each state that the data was led through."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "items.dvc").write_text(f"outs:\n- md5: {md5}\n  path: items\n")
    if states:
        (folder / "data" / "items.intake").mkdir(exist_ok=True)
        steps = [{"type": "data", "before": a, "after": b} for a, b in zip(states, states[1:], strict=False)]
        text = "".join(json.dumps(step) + "\n" for step in steps)
        (folder / "data" / "items.intake" / "objects.jsonl").write_text(text)


def save(folder, md5: str, *states: str) -> None:
    write(folder, md5, *states)
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", md5)


def advance(root, place, md5: str, *states: str, branch: str = "run/1"):
    """One commit more on plumb/data; returns the clone and whether the push counted."""
    clone = data_line.open_clone(root, place)
    write(clone.path, md5, *states)
    line, run = (data_line.commit(clone, NAMES, "more", parent) for parent in (clone.tip, clone.code))
    return clone, line, run, data_line.publish(clone, line, run, branch)


def test_the_line_holds_data_and_the_run_holds_the_code_at_hand(root, tmp_path):
    origin = tmp_path / "origin.git"
    clone, line, run, counted = advance(root, tmp_path / "clone", "m1", "m0", "m1")
    assert counted and clone.tip is None
    assert git(origin, "rev-parse", "plumb/data") == line and git(origin, "rev-parse", "run/1") == run
    assert git(origin, "ls-tree", "-r", "--name-only", line).split() == [
        "data/items.dvc",
        "data/items.intake/objects.jsonl",
    ]
    assert git(origin, "show", f"{run}:code.py") == "1" and git(origin, "rev-parse", f"{run}^") == git(
        root, "rev-parse", "HEAD"
    )
    assert git(origin, "show", "-s", "--format=%an <%ae>", line) == "Plumbline <plumbline@localhost>"
    second, newer, _, counted = advance(root, tmp_path / "clone", "m2", "m0", "m1", "m2", branch="run/2")
    assert counted and second.tip == line and git(origin, "rev-parse", f"{newer}^") == line


def test_whoever_is_second_pushes_nothing(root, tmp_path):
    origin = tmp_path / "origin.git"
    for start in (None, "a line"):
        slow = data_line.open_clone(root, tmp_path / "slow")
        write(slow.path, "mine")
        line, run = (data_line.commit(slow, NAMES, "mine", parent) for parent in (slow.tip, slow.code))
        _, first, _, counted = advance(root, tmp_path / "quick", f"theirs {start}", branch=f"run/quick-{bool(start)}")
        assert counted and not data_line.publish(slow, line, run, "run/slow")
        assert git(origin, "rev-parse", "plumb/data") == first
        assert git(origin, "for-each-ref", "refs/heads/run/slow") == ""


def test_the_project_keeps_the_commits_when_the_clone_is_gone(root, tmp_path):
    clone, line, run, _ = advance(root, tmp_path / "clone", "m1", "m0", "m1")
    data_line.bring_home(root, clone, line, run)
    subprocess.run(["rm", "-rf", str(clone.path)], check=True)
    assert git(root, "rev-parse", data_line.HOME) == run and git(root, "rev-parse", "origin/plumb/data") == line
    assert "m1" in git(root, "show", f"{data_line.HOME}:data/items.dvc")


def test_a_project_without_an_origin_is_its_own(root, tmp_path):
    git(root, "remote", "remove", "origin")
    clone, line, run, counted = advance(root, tmp_path / "clone", "m1")
    data_line.bring_home(root, clone, line, run)
    assert counted and git(root, "rev-parse", "plumb/data") == line and git(root, "rev-parse", "run/1") == run


def test_a_project_without_a_commit(tmp_path):
    git(tmp_path, "init", "-q")
    with pytest.raises(ValueError, match="has no git commit; intake commits on top of one"):
        data_line.open_clone(tmp_path, tmp_path / "clone")


def test_no_login_in_a_message(root, tmp_path):
    git(root, "remote", "set-url", "origin", "http://me:hidden-token@127.0.0.1:9/x.git")
    with pytest.raises(GitError, match="`git ls-remote`.*127.0.0.1") as failed:
        data_line.open_clone(root, tmp_path / "clone")
    assert failed.value.may_pass and "hidden-token" not in str(failed.value)


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    """git itself says it in its own words, whatever the command."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(
        "#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 128\n"
    )
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(GitError, match="^no space left for git in .*: free some, then run again$"):
        git(tmp_path, "status")


# --- whose data is newest ---


def newest(root, tmp_path) -> str:
    clone = data_line.open_clone(root, tmp_path / "look")
    assert newest_data(clone, RULES) == "data/items.dvc"
    text = (clone.path / "data" / "items.dvc").read_text()
    ledger = clone.path / "data" / "items.intake" / "objects.jsonl"
    return text.split()[3] + (" with ledger" if ledger.exists() else "")


def test_without_a_line_the_data_at_hand_is_newest(root, tmp_path):
    assert newest(root, tmp_path) == "m0"


def test_the_line_is_newer_than_the_data_it_began_with(root, tmp_path):
    advance(root, tmp_path / "clone", "m1", "m0", "m1")
    advance(root, tmp_path / "clone", "m2", "m0", "m1", "m2", branch="run/2")
    assert newest(root, tmp_path) == "m2 with ledger"
    save(root, "m1")  # an older state of the line, taken over without its ledger
    assert newest(root, tmp_path) == "m2 with ledger"


def test_data_that_went_on_from_the_line_is_newest(root, tmp_path):
    advance(root, tmp_path / "clone", "m1", "m0", "m1")
    save(root, "mine", "m0", "m1")
    assert newest(root, tmp_path) == "mine with ledger"


def test_data_that_went_another_way_is_not_overwritten(root, tmp_path):
    advance(root, tmp_path / "clone", "m1", "m0", "m1")
    save(root, "mine")
    changed = r"data/items.dvc was changed here, and not on top of what plumb/data at .* holds; take that first \((.*)\),"
    with pytest.raises(Failure, match=changed) as error:
        newest(root, tmp_path)
    # What the message says to do helps, and brings nothing else.
    (root / "other").write_text("mine")
    fetch, take, pull = re.search(changed, str(error.value))[1].split(" && ")
    for command in (fetch, take):
        git(root, *command.split()[1:])
    assert pull == "dvc pull data/items.dvc" and (root / "other").read_text() == "mine"
    save(root, "mine again", "m0", "m1")
    assert newest(root, tmp_path).startswith("mine")


@pytest.mark.parametrize("path", ["data/other", "/data/items"])
def test_data_that_is_not_tracked(root, tmp_path, path):
    clone = data_line.open_clone(root, tmp_path / "look")
    with pytest.raises(Failure, match=f"data.path={path} is not tracked by DVC in this project; `dvc add {path}`"):
        newest_data(clone, Rules(DataConfig(**{**DATA, "path": path}), intake_config(), ()))
