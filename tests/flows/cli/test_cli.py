"""The command line: quick, one line for the user's errors, and no run in the project when params differ."""

import contextlib
import socket
import subprocess
import sys

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from flows import environment, settings
from flows.alignment import local
from flows.cli import main
from flows.graph import inputs
from flows.graph.stages import Graph
from flows.hosting import servers
from flows.storage import workspace
from tests.support import toy
from tests.support.http_server import Reply, serving
from tests.support.ports import closed_port, free_port
from tests.support.small_project import small_params, write_project

HEAVY = ("torch", "transformers", "mlflow", "prefect", "dvc", "pandas", "numpy", "pydantic")


def test_help_imports_nothing_heavy():
    code = "import sys, runpy\nsys.argv = ['plumb', '--help']\ntry: runpy.run_module('flows.cli', run_name='__main__')\n"
    code += f"except SystemExit: pass\nprint([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=toy.ROOT)
    assert answer.stderr.strip().endswith("[]")


def shown_help(*arguments: str) -> str:
    """On a narrow terminal, without lines, boxes and marks of code."""
    shown = CliRunner().invoke(main.app, [*arguments, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": ""})
    assert shown.exit_code == 0 and max(map(len, shown.stdout.splitlines())) <= 80
    return _words(shown.stdout)


def _words(text: str) -> str:
    return " ".join(text.replace("`", "").translate(str.maketrans("│─╭╮╰╯", " " * 6)).split())


def test_help_groups_all_commands_by_use_and_cuts_none_short():
    shown = shown_help()
    assert "…" not in shown and "..." not in shown.replace("[ARGS]...", "")
    places = []
    for panel, commands in main.COMMANDS.items():
        places.append(shown.index(f"{panel} "))
        for command in commands:
            name = command.__name__.replace("_", "-")
            summary = command.__doc__.partition("\n\n")[0]
            places.append(shown.index(f"{name} {_words(summary)}"))
    assert places == sorted(places)
    assert len(main.app.registered_commands) == sum(map(len, main.COMMANDS.values())) == 23


@pytest.mark.parametrize("command", [c for commands in main.COMMANDS.values() for c in commands], ids=lambda c: c.__name__)
def test_the_help_of_a_command_says_all_that_its_docstring_does(command):
    assert _words(command.__doc__) in shown_help(command.__name__.replace("_", "-"))


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
        (["--set", "second.steps=[1"], "--set second.steps=[1: [1 is not a YAML value; write a list"),
        (["--params", "torn.yaml", "--set", "second.steps=5"], "torn.yaml is not valid YAML: line 2, column 1"),
        (["--params", "torn.yaml"], "torn.yaml is not valid YAML: line 2, column 1"),
        (["--params", "twice.yaml", "--set", "second.steps=5"], "the key 'steps' stands there twice, first in line 1"),
        (["--params", "list.yaml"], "list.yaml must be a mapping of sections"),
    ],
)
def test_wrong_params_are_one_line(tmp_path, arguments, words):
    folder = toy.make_toy(tmp_path)
    for name, text in (("torn", "a: [1\n"), ("twice", "second: {steps: 3, steps: 4}\n"), ("list", "- 1\n")):
        (folder / f"{name}.yaml").write_text(text)
    answer = toy.plumb(folder, "plan", *arguments)
    assert answer.returncode == 1
    assert words in answer.stderr and answer.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["plan", "status"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("retries: 2", "retries: -2", "params.yaml: flow.retries: input should be"),
        ("  value: 1", "  value: 1\n  value: 2", "params.yaml is not valid YAML: line 3, column 3: the key 'value' stands"),
    ],
)
def test_params_that_align_refuses_have_neither_plan_nor_status(tmp_path, command, old, new, words):
    folder = toy.make_toy(tmp_path)
    (folder / "params.yaml").write_text(toy.PARAMS.replace(old, new))
    answer = toy.plumb(folder, command)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert words in answer.stderr and answer.stderr.count("\n") == 1


def test_params_of_our_own_stages_are_checked_before_a_plan(tmp_path):
    folder = toy.make_toy(tmp_path / "toy")
    write_project(tmp_path / "ours", small_params() | {"dpo": small_params()["dpo"] | {"beta": "hello"}})
    for name in ("dvc.yaml", "params.yaml", "tasks"):
        (tmp_path / "ours" / name).replace(folder / name)
    answer = toy.plumb(folder, "plan")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "dpo.beta" in answer.stderr and "'hello'" in answer.stderr and answer.stderr.count("\n") == 1


READS_A_MODEL = """\
  tune:
    cmd: cp -r ${model.path} out/tuned
    deps: ["${model.path}"]
    outs: [out/tuned]
"""


@pytest.mark.parametrize("command", ["plan", "align"])
def test_a_model_that_is_not_there_is_one_line_before_any_stage(tmp_path, command):
    folder = toy.make_toy(tmp_path / "toy")
    (folder / "dvc.yaml").write_text(toy.DVC_YAML + READS_A_MODEL)
    (folder / "params.yaml").write_text(toy.PARAMS + "model: {path: base}\n")
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text("{}")
    answer = toy.plumb(folder, command, "--set", "model.path=/nowhere")
    words = "model.path: /nowhere does not exist (tune reads it); set model.path to a file or folder that does"
    assert (answer.returncode, answer.stderr) == (1, f"plumb: {words}\n")
    assert not (folder / ".dvc" / "plumb-state" / "runs").exists()
    assert toy.plumb(folder, "plan").returncode == 0


def test_inputs_that_nothing_brings(tmp_path):
    folder = toy.make_toy(tmp_path)
    inputs.check_inputs(folder, Graph(folder))
    (folder / "work.py").unlink()
    with pytest.raises(ValueError, match=r"work.py does not exist \(first, side@a and 3 more read it, by dvc.yaml\)"):
        inputs.check_inputs(folder, Graph(folder))
    toy.command(folder, "git", "checkout", "-q", "work.py")
    toy.command(folder, "mkdir", "data")
    (folder / "data" / "rows").write_text("rows")
    toy.command(folder, "dvc", "add", "-q", "data/rows")
    read = "  read: {cmd: cp data/rows out/rows, deps: [data/rows], outs: [out/rows]}\n"
    (folder / "dvc.yaml").write_text(toy.DVC_YAML + read)
    (folder / "data" / "rows").unlink()
    inputs.check_inputs(folder, Graph(folder))  # a pull brings it
    (folder / "data" / "rows.dvc").rename(folder / "rows.dvc")
    (folder / "rows.dvc").write_text((folder / "rows.dvc").read_text().replace("data/rows", "rows"))
    (folder / "dvc.yaml").write_text(toy.DVC_YAML + read.replace("data/rows", "rows"))
    with pytest.raises(ValueError, match="rows is not here .* fetch it: dvc pull rows.dvc"):
        inputs.check_inputs(folder, Graph(folder))
    (folder / "rows.dvc").unlink()
    (folder / "dvc.yaml").write_text(toy.DVC_YAML + read)
    with pytest.raises(ValueError, match=r"data/rows does not exist \(read reads it, by dvc.yaml\)"):
        inputs.check_inputs(folder, Graph(folder))


def test_a_template_that_is_not_there_is_told_before_any_stage_runs(tmp_path):
    folder = toy.make_toy(tmp_path)
    judge = "compare: {judges: [{name: remote, kind: openai, template: gone.yaml}]}\n"
    (folder / "params.yaml").write_text(toy.PARAMS + judge)
    with pytest.raises(ValueError, match="judge 'remote': its template .*gone.yaml does not exist"):
        inputs.check_inputs(folder, Graph(folder))


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
    assert yaml.safe_load(changed) == {"dpo": {"beta": 1e-5, "steps": 4}}


def test_an_item_of_a_list_is_named_by_its_number():
    text = "compare:\n  judges:\n    - path: one   # the first\n    - path: two\n"
    changed = workspace.change_params(text, {"compare.judges.1.path": "three"})
    assert "# the first" in changed and yaml.safe_load(changed) == yaml.safe_load(text.replace("two", "three"))
    for name in ("compare.judges.2.path", "compare.judges.x.path", "compare.judges.0.model"):
        with pytest.raises(ValueError, match=f"params.yaml has no {name}"):
            workspace.change_params(text, {name: "three"})


def test_paths_of_judges_lead_out_of_a_clone_too(tmp_path):
    """A run with other params ended in `compare`, after SFT: the judge's model did not lie in the clone."""
    folder = toy.make_toy(tmp_path / "toy")
    (tmp_path / "judge").mkdir()
    text = toy.PARAMS + "pool: [{name: one, path: ../judge}, {name: two, files: [../judge, ../absent]}]\n"
    clone = workspace.open_workspace(folder, environment.state_dir(folder), text)
    found = yaml.safe_load((clone / "params.yaml").read_text())["pool"]
    judge = str(tmp_path / "judge")
    assert found == [{"name": "one", "path": judge}, {"name": "two", "files": [judge, "../absent"]}]


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
        answer = toy.plumb(folder, "up", "--mlflow-port", str(port), "--prefect-port", str(free_port()))
    assert answer.returncode == 1
    assert answer.stderr == f"plumb: port {port} is in use; stop what listens there or choose another with --mlflow-port\n"


@pytest.mark.parametrize(("options", "words"), [([1, 1], "choose another with --mlflow-port"), ([99999, 1], "--prefect-port")])
def test_up_says_which_port_cannot_be(tmp_path, options, words):
    prefect, mlflow = options
    answer = toy.plumb(toy.make_toy(tmp_path), "up", f"--prefect-port={prefect}", f"--mlflow-port={mlflow}")
    assert answer.returncode and words in answer.stderr and "Traceback" not in answer.stderr


def test_a_second_up_of_a_project_is_refused_and_leaves_the_first_its_notice(tmp_path):
    """On other ports it would open the same database, and take the notice away when it ends."""
    folder = toy.make_toy(tmp_path)
    with servers.announcing(folder) as announce:
        announce("http://127.0.0.1:9/api", "http://127.0.0.1:8")
        options = [f"--{name}-port={free_port()}" for name in ("mlflow", "prefect")]
        answer = toy.plumb(folder, "up", *options)
        assert answer.returncode == 1 and answer.stderr.count("\n") == 1
        assert "already (http://127.0.0.1:9/api); use it, or stop it first" in answer.stderr
        assert (folder / ".prefect" / "up.json").exists()
    assert not (folder / ".prefect" / "up.json").exists()


def test_a_notice_that_a_killed_up_left_is_not_believed(tmp_path, monkeypatch):
    """Another project's server may listen there by now."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with serving(lambda request: Reply(200)) as other:
        api = f"{other}/api"
        with servers.announcing(tmp_path) as announce:
            assert servers.running_prefect(tmp_path) is None, "it is starting"
            announce(api, "http://127.0.0.1:9")
            assert servers.running_prefect(tmp_path) == api
        (tmp_path / ".prefect" / "up.json").write_text(f'{{"prefect": "{api}"}}')
        assert servers.running_prefect(tmp_path) is None


@pytest.mark.parametrize(
    ("seeds", "words"),
    [("0,x", "whole numbers separated by commas"), ("-1", "whole numbers separated by commas"), ("0,00", "stands there twice")],
)
def test_seeds_must_be_different_numbers(tmp_path, seeds, words):
    answer = toy.plumb(toy.make_toy(tmp_path), "seeds", f"--seeds={seeds}")
    assert answer.returncode == 1 and words in answer.stderr and answer.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["plan", "status"])
def test_a_torn_lock_does_not_hide_what_the_cache_holds(tmp_path, command):
    folder = toy.make_toy(tmp_path)
    toy.command(folder, "dvc", "repro", "-q")
    lock = folder / "dvc.lock"
    lock.write_text(lock.read_text()[:-200] + "\n  - [")
    answer = toy.plumb(folder, command)
    assert answer.returncode == 0, answer.stderr
    assert "Cleared: dvc.lock was torn" in answer.stdout
    assert answer.stdout.count(" restore " if command == "plan" else " in the cache ") == 5


def test_a_torn_lock_is_left_to_the_align_at_work(tmp_path):
    folder = toy.make_toy(tmp_path)
    (folder / "dvc.lock").write_text("stages: [")
    with local.only_one(folder), pytest.raises(ValueError, match="another plumb align"):
        local.open_graph(folder, None)
    assert (folder / "dvc.lock").exists()


def test_status_names_the_tracking_server_that_does_not_answer(tmp_path):
    folder = toy.make_toy(tmp_path)
    with closed_port() as port:
        answer = toy.plumb(folder, "status", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    assert answer.returncode == 1 and "never run" in answer.stdout
    assert answer.stderr.startswith("plumb: no MLflow answers at MLFLOW_TRACKING_URI=http://127.0.0.1:")
    assert len(answer.stderr) < 200 and answer.stderr.count("\n") == 1


def test_a_private_server_holds_its_port_before_it_serves(tmp_path):
    """Else a connection of somebody else may be given it while the server is imported."""
    server, url = servers.private_prefect(tmp_path)
    try:
        assert servers.port_in_use(int(url.rpartition(":")[2].partition("/")[0])) and not servers.answers(url)
    finally:
        server.stop()


def test_a_server_that_stops_at_start_names_its_log(tmp_path):
    server = servers.Server("toy", [sys.executable, "-c", "print('no')"], "http://127.0.0.1:9/", tmp_path / "log")
    with pytest.raises(ValueError, match="the toy server stopped at start; its log is"):
        server.wait(60)


def test_a_server_that_does_not_answer_is_ended(tmp_path):
    server = servers.Server("toy", ["sleep", "60"], "http://127.0.0.1:9/", tmp_path / "log")
    with pytest.raises(ValueError, match="did not answer within 1 s"):
        server.wait(1)
    assert not server.running


def test_a_server_takes_what_it_started_along(tmp_path):
    """Also what it put into a session of its own, as Prefect's workers do with flow runs."""
    pid_file = tmp_path / "pid"
    script = "import subprocess, sys; p = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    script += f"; open({str(pid_file)!r}, 'w').write(str(p.pid)); p.wait()"
    server = servers.Server("toy", [sys.executable, "-c", script], "http://127.0.0.1:9/", tmp_path / "log")
    toy.wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    child = psutil.Process(int(pid_file.read_text()))
    server.stop()
    try:
        toy.wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


@pytest.mark.slow
def test_up_serves_both_pages_and_align_finds_the_server(tmp_path):
    folder = toy.make_toy(tmp_path)
    prefect, mlflow = free_port(), free_port()
    command = [sys.executable, "-m", "flows.cli", "up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    run = toy.Marked(command, folder)
    try:
        notice = folder / ".prefect" / "up.json"
        toy.wait_for(lambda: notice.exists() and notice.read_text(), 120, run.describe)
        assert servers.answers(f"http://127.0.0.1:{prefect}/api/health")
        assert servers.answers(f"http://127.0.0.1:{mlflow}/health")
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
