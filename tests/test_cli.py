"""The command line: quick, one line for the user's errors, and no run in the project when params differ."""

import socket
import subprocess
import sys

import pytest

from flows import environment, servers, settings, workspace
from tests import toy

HEAVY = ("torch", "transformers", "mlflow", "prefect", "dvc", "pandas", "numpy", "pydantic")


def test_help_imports_nothing_heavy():
    code = "import sys, runpy\nsys.argv = ['plumb', '--help']\ntry: runpy.run_module('flows.cli', run_name='__main__')\n"
    code += f"except SystemExit: pass\nprint([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=toy.ROOT)
    assert answer.stderr.strip().endswith("[]")
    commands = ("align", "anchors", "plan", "status", "doctor", "up", "seeds", "inspect", "intake", "ratings", "winrate",
                "promote", "rollback", "lineage", "chat", "setup-server")
    for command in commands:
        assert command in answer.stdout


def test_outside_a_project(tmp_path):
    with pytest.raises(ValueError, match="no dvc.yaml here or above"):
        environment.project_root(tmp_path)
    answer = toy.plumb(tmp_path, "status")
    assert answer.returncode == 1
    assert answer.stderr.startswith("plumb: ") and answer.stderr.count("\n") == 1


def test_plan_and_status(tmp_path):
    folder = toy.make_toy(tmp_path)
    answer = toy.plumb(folder, "plan", "--cores", "2")
    assert answer.returncode == 0 and "never run" in answer.stdout
    # first 2 s, then side@a and side@b beside each other, then second, then last: 8 s.
    assert "5 stages would run, about 8 s on 2 cores" in answer.stdout
    assert "would run" in toy.plumb(folder, "status").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "second.step=5"], "no second.step; did you mean second.steps?"),
        (["--set", "second.steps"], "write it as --set section.key=value"),
        (["--params", "absent.yaml"], "absent.yaml does not exist"),
    ],
)
def test_wrong_params_are_one_line(tmp_path, arguments, words):
    answer = toy.plumb(toy.make_toy(tmp_path), "align", *arguments)
    assert answer.returncode == 1
    assert words in answer.stderr and answer.stderr.count("\n") == 1


def test_a_section_of_the_flow_is_missing(tmp_path):
    folder = toy.make_toy(tmp_path)
    (folder / "params.yaml").write_text(toy.PARAMS.replace("tracking:", "traking:"))
    with pytest.raises(ValueError, match="section 'tracking' is missing"):
        settings.read_settings(folder)


def test_a_value_of_the_flow_is_wrong(tmp_path):
    folder = toy.make_toy(tmp_path)
    (folder / "params.yaml").write_text(toy.PARAMS.replace("retries: 2", "retries: -2"))
    with pytest.raises(ValueError, match="retries"):
        settings.read_settings(folder)


def test_changed_params_keep_comments_and_types():
    text = "dpo:\n  beta: 0.1   # strength\n  steps: 3\n"
    changed = workspace.change_params(text, {"dpo.beta": "1e-5", "dpo.steps": "4"})
    assert "# strength" in changed
    import yaml

    assert yaml.safe_load(changed) == {"dpo": {"beta": 1e-5, "steps": 4}}


def test_a_clone_has_uncommitted_changes_the_cache_and_paths_that_still_lead_there(tmp_path):
    folder = toy.make_toy(tmp_path / "toy")
    (folder / "work.py").write_text(toy.WORK + "# mine\n")
    (folder / "new.txt").write_text("new")
    (tmp_path / "elsewhere").mkdir()
    text = toy.PARAMS + "data: {path: ../elsewhere}\n"
    clone = workspace.open_workspace(folder, environment.state_dir(folder), text)
    assert (clone / "work.py").read_text().endswith("# mine\n") and (clone / "new.txt").read_text() == "new"
    assert str(folder / ".dvc" / "cache") in (clone / ".dvc" / "config.local").read_text()
    assert str(tmp_path / "elsewhere") in (clone / "params.yaml").read_text()
    assert "elsewhere" not in (folder / "params.yaml").read_text()
    (folder / "work.py").write_text(toy.WORK)
    assert workspace.open_workspace(folder, environment.state_dir(folder), text) == clone
    assert (clone / "work.py").read_text() == toy.WORK


def test_a_clone_needs_git(tmp_path):
    folder = toy.make_toy(tmp_path / "toy")
    toy.shutil.rmtree(folder / ".git")
    with pytest.raises(ValueError, match="needs git"):
        workspace.open_workspace(folder, environment.state_dir(folder), toy.PARAMS)


def test_up_says_which_port_is_in_use(tmp_path):
    folder = toy.make_toy(tmp_path)
    with socket.socket() as busy:
        busy.bind((servers.HOST, 0))
        busy.listen()
        port = busy.getsockname()[1]
        answer = toy.plumb(folder, "up", "--mlflow-port", str(port), "--prefect-port", str(servers.free_port()))
    assert answer.returncode == 1
    assert answer.stderr == f"plumb: port {port} is in use; stop what listens there or choose another with --mlflow-port\n"


def test_seeds_must_be_numbers(tmp_path):
    answer = toy.plumb(toy.make_toy(tmp_path), "seeds", "--seeds", "0,x")
    assert answer.returncode == 1 and "whole numbers separated by commas" in answer.stderr


def test_a_server_that_stops_at_start_names_its_log(tmp_path):
    server = servers.Server("toy", [sys.executable, "-c", "print('no')"], "http://127.0.0.1:9/", tmp_path / "log")
    with pytest.raises(ValueError, match="the toy server stopped at start; its log is"):
        server.wait(10)


def test_a_server_that_does_not_answer_is_ended(tmp_path):
    server = servers.Server("toy", ["sleep", "60"], "http://127.0.0.1:9/", tmp_path / "log")
    with pytest.raises(ValueError, match="did not answer within 1 s"):
        server.wait(1)
    assert not server.running


@pytest.mark.slow
def test_up_serves_both_pages_and_align_finds_the_server(tmp_path):
    folder = toy.make_toy(tmp_path)
    ports = [servers.free_port(), servers.free_port()]
    command = [sys.executable, "-m", "flows.cli", "up", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    run = toy.Marked(command, folder)
    try:
        toy.wait_for(lambda: (folder / ".prefect" / "up.json").exists(), 120, run.describe)
        assert servers.answers(f"http://127.0.0.1:{ports[0]}/api/health")
        assert servers.answers(f"http://127.0.0.1:{ports[1]}/health")
        assert toy.plumb(folder, "align").returncode == 0
        assert not (folder / ".prefect" / "server.log").exists(), "no private server was started"
        workers = folder / ".prefect" / "worker-cpu.log"
        started = "Worker 'plumb up cpu' started"
        toy.wait_for(lambda: workers.exists() and started in workers.read_text(), 60, run.describe)
        run.process.terminate()
        run.wait_until_gone(20)
        assert run.process.returncode == 0
    finally:
        run.end()
