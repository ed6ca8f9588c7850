"""`plumb promote`, `rollback`, `lineage` and `chat` as people type them, and that no secret is left anywhere."""

import json
import os
import subprocess
import sys
import types

import pytest

from flows.cli import chat
from flows.history import registry
from flows.serving import package_files
from tests.support import promotion_worker, registry_toy, toy
from tests.support.planted_secrets import LEAK, SECRETS, leaks, without_redaction
from tests.support.registry_toy import project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`

SERVING = """
serving: {temperature: 0.7, max_new_tokens: 12, rows_per_batch: 8}
runtime: {seed: 0, threads: 1, dtype: float32, date: "2026-01-01"}
"""


def test_promote_needs_current_artifacts(tmp_path):
    folder = toy.make_toy(tmp_path / "toy")
    answer = toy.plumb(folder, "promote")
    assert answer.returncode == 1
    assert answer.stderr == "plumb: dvc.yaml has no stage 'gate', so there is nothing to promote\n"
    (folder / "dvc.yaml").write_text(registry_toy.STAGES)
    answer = toy.plumb(folder, "promote")
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1
    assert "gate is not current" in answer.stderr and "run plumb align first" in answer.stderr


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A toy in which nothing was promoted, nor packaged."""
    folder = toy.make_toy(tmp_path_factory.mktemp("empty") / "toy")
    with (folder / "params.yaml").open("a") as params:
        params.write(SERVING)
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rollback"], "no model 'toy' is registered in MLflow, so there is nothing to roll back"),
        (["rollback", "--to", "2"], "'2' is no version; write it as v3"),
        (["lineage"], "no model 'toy' is registered in MLflow; plumb promote registers one"),
        (["chat", "nowhere"], "nowhere is no directory; name one or a registered model: models:/toy@champion"),
        (["chat", "models:/toy@champion"], "no model 'toy' is registered"),
        (["chat"], "toy has no champion and there is no"),
        (["package", "served"], "no model 'toy' is registered"),
    ],
)
def test_what_is_not_there_is_one_line(empty, arguments, words):
    answer = toy.plumb(empty, *arguments)
    assert answer.returncode == 1 and answer.stdout == ""
    assert words in answer.stderr and answer.stderr.count("\n") == 1


def test_a_registry_that_does_not_answer_is_one_line_without_its_login(empty):
    nobody = {"MLFLOW_TRACKING_URI": "http://ada:planted@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    answer = toy.plumb(empty, "lineage", **nobody)
    assert answer.returncode == 1 and answer.stderr.startswith("plumb: ") and answer.stderr.count("\n") == 1
    assert "127.0.0.1" in answer.stderr and "planted" not in answer.stderr


def test_a_params_file_without_the_section_is_one_line(tmp_path):
    folder = toy.make_toy(tmp_path / "toy")
    answer = toy.plumb(folder, "chat", ".")
    assert answer.returncode == 1 and "section 'serving' is missing" in answer.stderr


def test_the_champion_is_where_mlflow_keeps_it_and_else_the_last_package(world, tmp_path):
    assert chat.find(world.root, world.state, None, "toy") == (world.root / "artifacts" / "package",) * 2
    promotion_worker.promote_there(world.uri, world.root, world.state, world.gate("gpt2"), None)
    model, tokenizer = chat.find(world.root, world.state, None, "toy")
    assert json.loads((model / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]
    assert (tokenizer / "tokenizer_config.json").is_file()
    assert chat.find(world.root, world.state, "models:/toy/1", "toy") == (model, tokenizer)


def test_a_model_on_another_machine_is_fetched_once(world):
    """Where MLflow's files are reached by http only, their address is no path."""
    promotion_worker.promote_there(world.uri, world.root, world.state, world.gate("gpt2"), None)
    version = registry.resolve(world.client, "models:/toy/1")
    far = types.SimpleNamespace(get_model_version_download_uri=lambda *_: "mlflow-artifacts:/1/models/m-x")
    folder = chat.downloaded(far, version, world.state)
    assert folder.parent == world.state / "models" and (folder / chat.MODEL_FOLDER / "model.safetensors").is_file()
    stamp = folder.stat().st_mtime_ns
    assert chat.downloaded(far, version, world.state) == folder and folder.stat().st_mtime_ns == stamp
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half-written stays"


def test_the_packaged_directory_of_what_serves_is_written_out(world, tmp_path):
    """Not that of the working tree, which may be another candidate's."""
    promotion_worker.promote_there(world.uri, world.root, world.state, world.gate("gpt2"), None)
    version = registry.read(world.client, "toy").champion
    made = package_files.write_out(world.root, version, tmp_path / "served")
    assert json.loads((made / "config.json").read_text())["architectures"] == ["GPT2LMHeadModel"]
    files = {path.name for path in made.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer_config.json", "plumbline.json"} <= files
    assert [path.name for path in tmp_path.glob("*served*")] == ["served"]
    with pytest.raises(ValueError, match="served is there already; name a directory that is not"):
        package_files.write_out(world.root, version, tmp_path / "served")
    other = registry.Version("toy", 9, "file:///nowhere", {})
    with pytest.raises(ValueError, match="models:/toy/9 was not registered by plumb promote"):
        package_files.write_out(world.root, other, tmp_path / "other")


@pytest.mark.slow
def test_the_whole_story_on_the_command_line_leaves_no_secret_behind(tmp_path):
    folder = tmp_path / "toy"
    registry_toy.write_project(folder)
    with (folder / "params.yaml").open("a") as params:
        params.write(SERVING)
    registry_toy.write_candidate(folder, "gpt2")
    said = []

    def plumb(*arguments, code=0, **more):
        answer = toy.plumb(folder, *arguments, **SECRETS, **more)
        said.append(answer.stdout + answer.stderr)
        assert answer.returncode == code, said[-1]
        return answer.stdout

    plumb("align", code=1, **LEAK)
    assert "401: wrong key [OPENAI_API_KEY], [AWS_ACCESS_KEY_ID]" in said[-1]
    plumb("align")
    assert "Promoted: toy: v1 is champion (the first champion)" in plumb("promote")
    registry_toy.write_candidate(folder, "qwen2")
    plumb("align")
    assert "ask for a new gate" in plumb("promote", code=1), "the gate compared with SFT, but v1 serves"
    registry_toy.write_candidate(folder, "qwen2", **registry_toy.against("gpt2"))
    plumb("align")
    assert "v2 is champion (it replaces v1)" in plumb("promote")
    found = json.loads(plumb("lineage", "--json"))
    assert found["model"]["version"] == 2 and found["evidence"]["reference"] == "champion"
    assert "models:/toy/1" in plumb("lineage", "models:/toy/1")
    assert "champion is v1 again, v2 is marked as rolled back" in plumb("rollback")
    assert "rolled back; ask for a new gate" in plumb("promote", code=1)
    assert "champion: v1" in plumb("status")
    assert "models:/toy/1: " in plumb("package", "served") and (folder / "served" / "model.safetensors").exists()
    assert leaks(folder, *said) == []


def test_the_search_for_secrets_finds_them_when_nothing_is_redacted(tmp_path):
    """Else the test above proved nothing: the same leak reaches the console and the databases of both servers."""
    folder = tmp_path / "toy"
    registry_toy.write_project(folder)
    registry_toy.write_candidate(folder, "gpt2")
    answer = toy.plumb(folder, "align", **LEAK, **{**SECRETS, **without_redaction(tmp_path / "hook")})
    found = {where.partition("-")[0] for where, _ in leaks(folder, answer.stdout, answer.stderr)}
    assert {"output", "mlflow.db", ".prefect/prefect.db"} <= found, found
    assert {name for _, name in leaks(folder, answer.stdout)} == set(SECRETS)


@pytest.mark.slow
def test_a_question_through_a_pipe(tmp_path, project):
    folder = tmp_path / "toy"
    toy.command(tmp_path, "cp", "-a", str(project), str(folder))
    with (folder / "params.yaml").open("a") as params:
        params.write(SERVING)
    command = [sys.executable, "-m", "flows.cli", "chat"]
    answers = [
        subprocess.run([*command, *target], input="Can I wash my teddy bear?\n", cwd=folder, text=True, timeout=120,
                       env=toy.toy_environment(folder), capture_output=True)
        for target in ([], [os.path.join("artifacts", "package")])
    ]  # fmt: skip
    assert [answer.returncode for answer in answers] == [0, 0], answers
    assert answers[0].stdout == answers[1].stdout and answers[0].stdout.endswith("\n") and answers[0].stderr == ""
