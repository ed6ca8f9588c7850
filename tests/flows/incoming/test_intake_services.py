"""Intake on a real S3 server: what comes in, what stays out; wherever it is killed, nothing is lost or doubled."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.support.intake_project import DRIVER, GOOD, INBOX, demonstration, lines, make_project
from tests.support.s3_servers import moto  # noqa: F401

pytestmark = pytest.mark.services
STEPS = [
    "locked", "cloned", "newest data chosen", "listed", "data pulled", "read demonstrations/a.jsonl",
    "read demonstrations/b.jsonl", "read preferences/p.jsonl", "read readme.txt", "read verdicts/v.csv", "checked",
    "wrote demonstrations.jsonl", "wrote preferences.jsonl", "wrote verdicts.jsonl", "tracked", "stored",
    "entered in the ledger", "committed", "published", "brought home",
]  # fmt: skip


@pytest.fixture(scope="module")
def inbox(moto):
    """Five objects, most of them with bad rows; no test changes them."""
    bucket = moto.bucket()
    moto.put(bucket, INBOX)
    return f"s3://{bucket}/in"


@pytest.fixture()
def remote(moto):
    return f"s3://{moto.bucket()}/dvc"


@pytest.fixture(scope="module")
def undisturbed(moto, inbox, tmp_path_factory):
    """The project after an intake that nobody disturbed."""
    project = make_project(tmp_path_factory.mktemp("undisturbed"), moto, inbox, f"s3://{moto.bucket()}/dvc")
    answer = project.intake()
    assert answer.returncode == 0, answer.stderr
    project.said, project.data = answer, project.pulled()
    return project


def count(rows: bytes) -> int:
    return rows.count(b"\n")


def test_good_rows_are_added_to_what_was_there(undisturbed):
    before, after = undisturbed.pulled("main"), undisturbed.data
    for name, good in GOOD.items():
        assert after[name].startswith(before.get(name, b""))
        assert count(after[name]) - count(before.get(name, b"")) == good
    assert after["prompts.jsonl"] == before["prompts.jsonl"]
    added = [json.loads(line) for line in after["demonstrations.jsonl"].splitlines()[1:]]
    assert [row["origin"].split("@")[0] for row in added] == ["in/demonstrations/a.jsonl"] * 2 + [
        "in/demonstrations/b.jsonl"
    ]
    assert [row["origin"].split("#")[1] for row in added] == ["1", "2", "2"]
    assert len({row["id"] for row in added}) == 3


def test_the_ledger_and_the_quarantine_say_what_happened(undisturbed):
    files = undisturbed.files()
    entries = [json.loads(line) for line in files["data/items.intake/objects.jsonl"].splitlines()]
    counts = {e["key"]: (e["good"], e["duplicates"], e["quarantined"]) for e in entries if e["type"] == "object"}
    assert counts == {
        "in/demonstrations/a.jsonl": (2, 0, 3),
        "in/demonstrations/b.jsonl": (1, 1, 1),
        "in/preferences/p.jsonl": (1, 0, 1),
        "in/readme.txt": (0, 0, 0),
        "in/verdicts/v.csv": (1, 0, 1),
    }
    assert "says no kind" in next(e["refused"] for e in entries if e.get("key") == "in/readme.txt")
    bad = [json.loads(line) for line in files["data/items.intake/quarantine.jsonl"].splitlines()]
    reasons = {(line["key"].rpartition("/")[2], line["lines"]): line["reason"] for line in bad}
    assert "invalid JSON" in reasons["a.jsonl", "4"] and "not UTF-8" in reasons["a.jsonl", "5"]
    assert "its id has other signs" in reasons["b.jsonl", "3"]
    assert "nearly repeats the gate prompt 'gate-0'" in reasons["p.jsonl", "2"]
    assert "its prompt is none of the data's" in reasons["v.csv", "3"]
    assert len(reasons) == 6


def test_the_command_prints_objects_reasons_and_the_commit(undisturbed):
    said = undisturbed.said
    assert said.stderr == ""
    for words in ("demonstrations/a.jsonl", "line 5: not UTF-8", "refused: its key says no kind", "New objects: 5."):
        assert words in said.stdout
    (run,) = undisturbed.runs()
    assert run in said.stdout


def test_two_commits_are_pushed_at_once(undisturbed):
    """plumb/data holds data and nothing else; the run's commit is the code at hand with the same data."""
    (line,), (run,) = undisturbed.line(), undisturbed.runs()
    names = undisturbed.git("ls-tree", "-r", "--name-only", line).split()
    assert names == ["data/items.dvc", "data/items.intake/objects.jsonl", "data/items.intake/quarantine.jsonl"]
    assert undisturbed.git("rev-parse", f"{run}^") == undisturbed.git("rev-parse", "main")
    changed = undisturbed.git("diff", "--name-only", "main", run).split()
    assert changed == names and undisturbed.files(run) == undisturbed.files()


def test_what_is_too_much_for_one_intake_waits_for_the_next(moto, remote, tmp_path):
    bucket = moto.bucket()
    moto.put(bucket, {f"in/demonstrations/{n}.jsonl": lines(demonstration(n)) for n in (1, 2, 3)})
    project = make_project(tmp_path, moto, f"s3://{bucket}/in", remote)
    text = (project.folder / "params.yaml").read_text()
    (project.folder / "params.yaml").write_text(text.replace("max_total_mb: 1024.0", "max_total_mb: 0.000001"))
    first, second, third, fourth = (project.intake() for _ in range(4))
    assert first.stdout.count("waits: intake.max_total_mb=1e-06 was read; the next intake takes it") == 2, first.stderr
    assert second.stdout.count("waits: ") == 1 and "waits" not in third.stdout and "Nothing new" in fourth.stdout
    assert count(project.pulled()["demonstrations.jsonl"]) == count(project.pulled("main")["demonstrations.jsonl"]) + 3


def test_the_project_itself_is_left_alone_but_has_the_commits(undisturbed):
    assert undisturbed.do("git", "status", "--porcelain") == ""
    (run,) = undisturbed.runs()
    assert undisturbed.do("git", "rev-parse", "refs/plumb/intake") == undisturbed.git("rev-parse", run)
    assert undisturbed.do("git", "rev-parse", "origin/plumb/data") == undisturbed.git("rev-parse", "plumb/data")
    assert [path.suffix for path in (undisturbed.folder / ".dvc" / "plumb-state" / "intake").iterdir()] == [".lock"]


@pytest.mark.parametrize("at_origin", [True, False], ids=["with an origin", "without"])
def test_a_project_in_a_folder_of_its_repository(moto, inbox, remote, undisturbed, tmp_path, at_origin):
    """A monorepo (`dvc init --subdir`): the same rows come in, and what lies beside the project is left alone."""
    project = make_project(tmp_path, moto, inbox, remote)
    top = tmp_path / "mono"
    (top / "other").mkdir(parents=True)
    (top / "other" / "code.py").write_text("1\n")
    (top / ".gitignore").write_text("/first/\n/store/\n")
    shutil.rmtree(project.folder / ".git")
    shutil.rmtree(project.origin)
    project.folder = project.folder.rename(top / "items")
    (tmp_path / "first").rename(top / "first")
    for command in ("init -q -b main ..", "add -A ..", "commit -qm mono"):
        project.do("git", *command.split())
    if at_origin:
        project.do("git", "clone", "-q", "--bare", "..", str(project.origin))
        project.do("git", "remote", "add", "origin", "../origin.git")
    else:
        project.origin = top
    answer = project.intake()
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[:3] == undisturbed.said.stdout.splitlines()[:3]
    ledger, rows = "items/data/items.intake/objects.jsonl", undisturbed.files()["data/items.intake/objects.jsonl"]
    whole = project.git("ls-tree", "-r", "--name-only", "plumb/data").splitlines()
    assert set(whole) == {"items/data/items.dvc", *(name for name in whole if name.startswith("items/data/items.intake/"))}
    assert len(project.git("show", f"plumb/data:{ledger}").splitlines()) == len(rows.splitlines())
    (run,) = project.runs()
    assert project.git("show", f"{run}:other/code.py") == "1\n"
    again = project.intake()
    assert again.returncode == 0 and len(project.line()) == 1, again.stderr
    forgotten = project.run([sys.executable, "-m", "flows.cli", "forget", "--row", "d-0"])
    assert forgotten.returncode == 0, forgotten.stdout + forgotten.stderr
    assert len(project.line()) == 2 and "d-0" in project.git("show", f"plumb/data:{ledger}")


# --- killed ---


def test_every_step_is_killed_below(moto, inbox, remote, tmp_path):
    assert make_project(tmp_path, moto, inbox, remote).killed_at("none of them") == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_a_step_nothing_is_lost_or_doubled(moto, inbox, remote, undisturbed, tmp_path, step):
    project = make_project(tmp_path, moto, inbox, remote)
    assert project.killed_at(step)[-1] == step
    published = step in ("published", "brought home")
    assert len(project.line()) == len(project.runs()) == published
    again = project.intake()
    assert again.returncode == 0, again.stderr
    assert ("Nothing new" in again.stdout) == published
    ends_like(project, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("tenths", range(10))
def test_killed_within_a_step(moto, inbox, remote, undisturbed, tmp_path, tenths):
    """Also while dvc hashes, links or uploads, and while git commits or pushes: at ten times between start and end."""
    project = make_project(tmp_path, moto, inbox, remote)
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, "never"],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "locked\n"
        time.sleep(0.2 * tenths)
        process.send_signal(signal.SIGKILL)
    assert project.intake().returncode == 0
    ends_like(project, undisturbed)


def ends_like(project, undisturbed):
    """One commit, the same pointer and ledger byte for byte, and the same data for a second clone."""
    assert len(project.line()) == len(project.runs()) == 1
    assert project.files() == undisturbed.files()
    assert project.pulled() == undisturbed.data
    assert project.do("git", "rev-parse", "origin/plumb/data") == project.git("rev-parse", "plumb/data")


# --- again and again ---


def test_the_same_objects_again_change_nothing(moto, tmp_path):
    bucket = moto.bucket()
    moto.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    moto.put(bucket, INBOX)
    project = make_project(tmp_path, moto, f"s3://{bucket}/in")
    assert project.intake().returncode == 0
    first, commits = project.files(), project.line()
    assert '"version": "' in first["data/items.intake/objects.jsonl"]
    moto.put(bucket, INBOX)
    answer = project.intake()
    assert "Nothing new in the inbox; 5 known already" in answer.stdout
    assert project.line() == commits and len(project.runs()) == 1


def test_known_rows_under_another_key_leave_the_data_as_it_is(moto, tmp_path):
    bucket = moto.bucket()
    moto.put(bucket, {"in/demonstrations/a.jsonl": INBOX["in/demonstrations/a.jsonl"]})
    project = make_project(tmp_path, moto, f"s3://{bucket}/in")
    assert project.intake().returncode == 0
    first = project.files()
    moto.put(bucket, {"in/demonstrations/copy.jsonl": INBOX["in/demonstrations/a.jsonl"]})
    assert project.intake().returncode == 0
    second = project.files()
    assert second["data/items.dvc"] == first["data/items.dvc"]
    entry = json.loads(second["data/items.intake/objects.jsonl"].splitlines()[-1])
    assert (entry["key"], entry["good"], entry["duplicates"], entry["quarantined"]) == (
        "in/demonstrations/copy.jsonl",
        0,
        2,
        3,
    )


def test_another_clone_goes_on_where_the_first_ended(moto, tmp_path):
    """Also one that knows nothing of plumb/data: its own commit has the code at hand and all the data."""
    bucket = moto.bucket()
    moto.put(bucket, {"in/demonstrations/a.jsonl": lines(demonstration(1))})
    project = make_project(tmp_path, moto, f"s3://{bucket}/in", f"s3://{bucket}/dvc")
    project.do("git", "clone", "-q", str(project.origin), str(tmp_path / "second"))
    second = type(project)(tmp_path / "second", project.origin, moto)
    assert project.intake().returncode == 0
    moto.put(bucket, {"in/demonstrations/b.jsonl": lines(demonstration(2))})
    answer = second.intake()
    assert answer.returncode == 0 and "1 known already" in answer.stdout, answer.stderr
    newest, oldest = project.line()
    assert project.git("rev-parse", f"{newest}^").strip() == oldest
    assert count(project.pulled()["demonstrations.jsonl"]) == 3
    assert "Nothing new" in project.intake().stdout
    # With nothing new, the project still gets a commit of its code and the newest data, the same one each time.
    commit = project.do("git", "rev-parse", "refs/plumb/intake")
    assert project.do("git", "show", "refs/plumb/intake:data/items.dvc") == project.files()["data/items.dvc"]
    assert "Nothing new" in project.intake().stdout
    assert project.do("git", "rev-parse", "refs/plumb/intake") == commit


def test_a_dry_run_says_the_same_and_changes_nothing(moto, inbox, tmp_path):
    project = make_project(tmp_path, moto, inbox)
    answer = project.intake("--dry-run")
    assert answer.returncode == 0 and "nearly repeats the gate prompt" in answer.stdout
    assert "Nothing was committed" in answer.stdout
    assert project.line() == project.runs() == [] and not (tmp_path / "store").exists()


def test_objects_that_have_no_file_yet_wait(moto, tmp_path):
    bucket = moto.bucket()
    moto.put(bucket, {"in/preferences/p.jsonl": INBOX["in/preferences/p.jsonl"]})
    project = make_project(tmp_path, moto, f"s3://{bucket}/in")
    text = (project.folder / "params.yaml").read_text()
    (project.folder / "params.yaml").write_text(text.replace("preferences: preferences.jsonl", "preferences: null"))
    answer = project.intake()
    assert answer.returncode == 0 and "waits: data.preferences is null" in answer.stdout and project.line() == []
    (project.folder / "params.yaml").write_text(text)
    assert project.intake().returncode == 0
    assert count(project.pulled()["preferences.jsonl"]) == 2


# --- two at once ---


def test_two_projects_take_the_same_objects_in_at_once(moto, inbox, undisturbed, tmp_path):
    """One has committed and not yet published when the other publishes: it begins again, and finds nothing new."""
    project = make_project(tmp_path, moto, inbox)
    project.do("git", "clone", "-q", str(project.origin), str(tmp_path / "second"))
    (tmp_path / "second" / "params.yaml").write_text((project.folder / "params.yaml").read_text())
    second = type(project)(tmp_path / "second", project.origin, moto)
    waiting = DRIVER.replace(
        "print(name, flush=True)", "print(name, flush=True); name == 'committed' and sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting, "none"], cwd=project.folder, env=project.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while process.stdout.readline() != "committed\n":
            pass
        assert second.intake().returncode == 0
        rest, _ = process.communicate("go on\n")
    assert process.returncode == 0 and rest.split("\n")[:2] == ["another was first", "cloned"]
    ends_like(project, undisturbed)


def test_who_is_second_again_and_again_gives_up(moto, inbox, tmp_path):
    """Somebody moves plumb/data whenever we are about to."""
    project = make_project(tmp_path, moto, inbox)
    meddler = DRIVER.replace(
        "if name ==",
        """if name == "committed":
        import subprocess, tempfile
        push = "git clone -q %s m && cd m && (git checkout -q plumb/data || git checkout -q --orphan plumb/data) && "
        push += "git commit -q --allow-empty -m other && git push -q origin plumb/data"
        subprocess.run(push % root.parent.joinpath("origin.git"), shell=True, check=True, cwd=tempfile.mkdtemp())
    if name ==""",
    )
    answer = project.run([sys.executable, "-c", meddler, "none"])
    assert answer.stdout.count("another was first") == 5
    assert "other intakes were first 5 times; nothing was taken in here: run again" in answer.stderr
    assert len(project.line()) == 5 and project.runs() == []


def test_two_intakes_of_one_project_wait_for_each_other(moto, inbox, undisturbed, tmp_path):
    project = make_project(tmp_path, moto, inbox, "../../store")
    command = [sys.executable, "-m", "flows.cli", "intake"]
    both = [
        subprocess.Popen(command, cwd=project.folder, env=project.environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Nothing new" in text for text in said) == sum("New objects: 5" in text for text in said) == 1
    ends_like(project, undisturbed)
