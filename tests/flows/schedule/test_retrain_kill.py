"""`kill -9` of a retraining at every boundary: whoever repeats it ends in the same registry, data, runs and remote.

From new rows in the inbox to another champion, on a graph of seconds, with real DVC, MLflow, Prefect and S3.
"""

import collections
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from flows.history import registry
from flows.schedule import retraining
from tests.support import retrain_toy
from tests.support.intake_project import GOOD, INBOX
from tests.support.retrain_services import mailbox
from tests.support.s3_servers import moto  # noqa: F401
from tests.support.service_processes import prefect_server

pytestmark = [pytest.mark.services, pytest.mark.slow]
STAGES = ["gate", "package", "prepare", "report", "train"]
BOUNDARIES = [
    "resolve champion", "intake", "clone", "look for changes", "stage prepare", "stage train", "stage gate",
    "stage package", "stage report", "aligned", "marked", "push", "promotion: examine", "promotion: register",
    "promotion: verify", "promotion: attach evidence", "promotion: move champion", "remember",
]  # fmt: skip
MOMENTS = 6


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("retrain-kill")


@pytest.fixture(scope="module")
def services(place):
    (place / "prefect").mkdir()
    with prefect_server(place / "prefect") as api:
        yield {"PREFECT_API_URL": api, "PREFECT_HOME": str(place / "client")}


class Scene:
    """A project as it is now, put back as often as needed."""

    def __init__(self, project):
        self.project, self.folder = project, project.folder.parent
        self.saved = self.folder.with_name(f"{self.folder.name}-saved")
        self._copy(self.folder, self.saved)

    def again(self):
        subprocess.run(["rm", "-rf", self.folder], check=True)
        self._copy(self.saved, self.folder)

    @staticmethod
    def _copy(source, target):
        subprocess.run(["cp", "-a", source, target], check=True)


def worker(project, boundary="none", *changes):
    """One retraining, killed when it comes to this boundary; the boundaries that it came to."""
    answer = project.run([sys.executable, "-m", "tests.support.retrain_worker", boundary, *changes])
    assert answer.returncode in (0, -signal.SIGKILL), answer.stdout + answer.stderr
    assert (answer.returncode != 0) == (boundary in answer.stdout.splitlines())
    return [line for line in answer.stdout.splitlines() if line in BOUNDARIES]


def retrained(project):
    """One that nobody kills; how it ended."""
    answer = project.run([sys.executable, "-m", "tests.support.retrain_worker", "none"])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return next(name for name in ("Promoted", "NothingNew") if f"\n{name}: " in f"\n{answer.stdout}")


def client_of(project):
    """Of a copy: MLflow would go on reading the file that was there before the scene was put back."""
    from mlflow import MlflowClient

    copy = shutil.copy(project.folder / "mlflow.db", tempfile.mkdtemp(dir=project.folder.parent.parent) + "/mlflow.db")
    return MlflowClient(f"sqlite:///{copy}", f"sqlite:///{copy}")


def registry_of(project):
    """Aliases, the tags of every version but for what each attempt has of its own, and the model's tags.

    A commit has its time in it; the data and the code in it are the same.
    """
    own = (registry.PROMOTED, registry.COMMIT, registry.RUN, registry.PACKAGE_RUN, registry.GATE_RUN, registry.REPORT)
    state = registry.read(client_of(project), "toy")
    tags = {number: {k: v for k, v in one.tags.items() if k not in own} for number, one in state.versions.items()}
    return dict(state.aliases), tags, dict(state.tags)


def stage_runs(project):
    """How often MLflow has each stage at each version, by whether the run is complete."""
    client = client_of(project)
    number = client.get_experiment_by_name("plumbline").experiment_id
    runs = client.search_runs([number], "tags.`plumb.kind` = 'stage'")
    keys = ("plumb.stage", "plumb.version", "plumb.complete")
    return collections.Counter(tuple(run.data.tags[key] for key in keys) for run in runs)


def promotions(project):
    """The decisions that made a champion."""
    client = client_of(project)
    number = client.get_experiment_by_name("plumbline").experiment_id
    where = "tags.`plumb.kind` = 'retrain' AND tags.`plumb.retrain.outcome` = 'promoted'"
    return [run.info.status for run in client.search_runs([number], where)]


def remote_of(project):
    store = project.folder.parent / "store"
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file() and "runs" not in path.parts}


def everything(project):
    """What must come out the same, whoever was killed on the way."""
    return {
        "registry": registry_of(project), "runs": stage_runs(project), "promotions": promotions(project),
        "commits": (len(project.line()), len(project.runs())), "data": project.files(), "remote": remote_of(project),
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(place, moto, services):
    """v1 serves, and nothing is new."""
    bucket = moto.bucket()
    project = retrain_toy.make(place / "first", moto, f"s3://{bucket}/in", **services)
    assert retrained(project) == "Promoted"
    project.bucket = bucket
    return project


@pytest.fixture(scope="module")
def scene(made, moto):
    """v1 serves, and there are new rows."""
    moto.put(made.bucket, INBOX)
    return Scene(made)


@pytest.fixture(scope="module")
def undisturbed(scene):
    """The same project after a retraining that nobody disturbed; what it came to, and how long it took."""
    count, begun = len(scene.project.stages_started()), time.monotonic()
    came_to = worker(scene.project)
    seconds = time.monotonic() - begun
    assert sorted(scene.project.stages_started()[count:]) == STAGES
    found = everything(scene.project)
    scene.again()
    return found, came_to, seconds


def test_an_undisturbed_one_comes_to_every_boundary(undisturbed):
    found, came_to, _ = undisturbed
    assert came_to == BOUNDARIES
    aliases, versions, claims = found["registry"]
    assert aliases == {"champion": 2} and versions[2]["replaces"] == "v1" and claims == {}
    assert found["promotions"] == ["FINISHED", "FINISHED"] and found["commits"] == (1, 1)
    assert {(stage, complete) for stage, _, complete in found["runs"]} == {(stage, "true") for stage in STAGES}
    assert set(found["runs"].values()) == {1}


def ends_like(project, undisturbed):
    found = everything(project)
    for part, expected in undisturbed[0].items():
        assert found[part] == expected, part


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_killed_at_a_boundary_it_is_repeated(scene, undisturbed, boundary):
    scene.again()
    project, before = scene.project, len(scene.project.stages_started())
    assert worker(project, boundary)[-1] == boundary
    aliases, versions, _ = registry_of(project)
    moved = boundary in ("promotion: move champion", "remember")
    assert aliases["champion"] == (2 if moved else 1) and len(versions) <= 2
    assert retrained(project) == ("NothingNew" if boundary == "remember" else "Promoted")
    ends_like(project, undisturbed)
    assert sorted(project.stages_started()[before:]) == STAGES, "each stage once"
    assert retrained(project) == "NothingNew"


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_any_moment_it_is_repeated(scene, undisturbed, moment):
    """Also while dvc hashes or uploads, while MLflow is written, while git pushes."""
    scene.again()
    project = scene.project
    command = [sys.executable, "-m", "tests.support.retrain_worker", "none"]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(undisturbed[2] * (moment + 0.5) / MOMENTS)
        process.send_signal(signal.SIGKILL)
    assert registry_of(project)[0]["champion"] in (1, 2)
    assert retrained(project) in ("Promoted", "NothingNew")
    ends_like(project, undisturbed)


def test_killed_again_and_again_it_gets_there(place, moto, services):
    """The first promotion of a project; each attempt comes one boundary further than the last."""
    bucket = moto.bucket()
    moto.put(bucket, INBOX)
    project = retrain_toy.make(place / "again", moto, f"s3://{bucket}/in", **services)
    for boundary in BOUNDARIES:
        worker(project, boundary)
    assert retrained(project) == "NothingNew"
    aliases, versions, claims = registry_of(project)
    assert aliases == {"champion": 1} and len(versions) == 1 and claims == {}
    assert promotions(project) == ["FINISHED"] and set(stage_runs(project).values()) == {1}
    assert sorted(project.stages_started()) == STAGES
    rows, before = project.pulled(), project.pulled("main")
    assert {name: rows[name].count(b"\n") - before.get(name, b"").count(b"\n") for name in GOOD} == GOOD


def test_what_was_decided_is_told_before_it_is_remembered(place, moto, services):
    """Killed as soon as it is remembered: nobody decides it again, so it must have been told by then."""
    with mailbox() as box:
        project = retrain_toy.make(place / "told", moto, None, PLUMB_ALERT_URL=box.url, **services)
        hacked = "ppo.kl_coefficient=0.0"
        assert worker(project, "remember", hacked)[-1] == "remember"
        (letter,) = box.letters
        assert letter["verdict"] == "rejected" and "praise in 61% of the answers" in letter["text"]
        answer = project.run([sys.executable, "-m", "tests.support.retrain_worker", "none", hacked])
        assert answer.returncode == 0 and "\nNothingNew: " in answer.stdout, answer.stdout + answer.stderr
        assert box.letters == [letter]
        commit = project.do("git", "rev-parse", "HEAD").strip()
        assert project.do("git", "rev-parse", f"{retraining.SHARED_COMMIT}{commit}").strip() == commit
