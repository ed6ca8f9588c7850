"""Promotions and rollbacks in processes of their own, which can be killed before any write to MLflow."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from flows.history import registry
from flows.serving.approval import Approval
from flows.serving.promotion import run
from flows.serving.request import Place, Request
from flows.serving.rollback import roll_back
from flows.settings import read_settings
from tests.support.registry_toy import against

WRITES = {
    "create_registered_model", "create_model_version", "update_model_version", "log_dict", "set_model_version_tag",
    "delete_model_version_tag", "set_registered_model_tag", "delete_registered_model_tag", "set_registered_model_alias",
    "delete_registered_model_alias",
}  # fmt: skip
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class DyingClient:
    """MLflow's client; this process is killed with SIGKILL where it would make its write number `die_at`, from 0."""

    def __init__(self, client, die_at: int | None = None):
        self._client, self._die_at, self.writes = client, die_at, []

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if name not in WRITES:
            return method

        def write(*arguments, **named):
            if len(self.writes) == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.writes.append(name)
            return method(*arguments, **named)

        return write


def same_logits(package: Path, registered: Path) -> float:
    """Stands for the comparison in a process with torch, which takes seconds and writes nothing."""
    return 0.0


def client_of(uri: str):
    import mlflow
    from mlflow import MlflowClient

    os.environ["MLFLOW_TRACKING_URI"] = uri
    mlflow.set_tracking_uri(uri)
    return MlflowClient()


def place_of(client, root: Path, state: Path, verify=same_logits, **changes) -> Place:
    config = read_settings(root).promote.model_copy(update={"policy": "automatic", **changes})
    return Place(client, root, state, config, verify)


def request_of(wanted, compared: int | None) -> Request:
    return Request(wanted.candidate, wanted.gate, COMMIT, compared)


def nobody(request, version) -> Approval:
    raise AssertionError("nobody is asked under this policy")


def promote_there(uri, root, state, wanted, compared, die_at=None, outcomes=None):
    """Promote; the outcome goes to the queue, if the process lives to tell."""
    client = DyingClient(client_of(uri), die_at)
    outcome = run(place_of(client, root, state), request_of(wanted, compared), None, nobody)
    if outcomes is not None:
        outcomes.put(outcome)
    return outcome, client.writes


def take_back_there(uri, root, state, die_at=None):
    client = DyingClient(client_of(uri), die_at)
    return roll_back(client, "toy", state), client.writes


def take_back_and_tell(uri, root, state, texts):
    try:
        texts.put(take_back_there(uri, root, state)[0].text)
    except ValueError as error:
        texts.put(str(error))


def context():
    """Processes that start in milliseconds: what takes seconds to import is imported once, before they are forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.artifacts", "dvc.repo", "tests.support.promotion_worker"])
    return context


def killed(target, *arguments) -> bool:
    """Run in a process of its own; whether it died of SIGKILL."""
    process = context().Process(target=target, args=arguments)
    process.start()
    process.join(600)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


# --- in this process, over a test's own registry ---


def promote(world, wanted, compared, given=None, ask=nobody, **changes):
    place = place_of(world.client, world.root, world.state, **changes)
    return run(place, request_of(wanted, compared), given, ask)


def back(world, target=None):
    return roll_back(world.client, "toy", world.state, target)


def state(world):
    return registry.read(world.client, "toy")


def promoted_twice(world):
    first, second = world.gate("gpt2"), world.gate("qwen2", **against("gpt2"))
    promote(world, first, None)
    promote(world, second, 1)
    return first, second
