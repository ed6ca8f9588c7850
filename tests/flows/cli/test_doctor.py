"""`plumb doctor`: each finding names what is wrong and what to do."""

import io

import pytest

from flows.cli import doctor
from flows.command import console
from tests.support import toy


@pytest.fixture()
def project(tmp_path, monkeypatch):
    folder = toy.make_toy(tmp_path / "toy")
    toy.make_session(folder, monkeypatch)
    return folder


def found(check, project):
    return [(f.level, f.text, f.remedy) for f in check(project)]


def test_versions_against_the_constraints(project):
    (project / "constraints.txt").write_text("pytest==0.1\nno-such-package==1.0\n")
    levels = [level for level, _, _ in found(doctor.check_versions, project)]
    assert levels == ["problem", "note", "ok"]
    from importlib.metadata import version

    (project / "constraints.txt").write_text(f"pytest=={version('pytest')}\n")
    assert found(doctor.check_versions, project) == [("ok", "1 packages as pinned", "")]


def test_params_that_do_not_parse(project):
    (project / "params.yaml").write_text("flow: 3\n")
    ((level, text, _),) = found(doctor.check_params, project)
    assert level == "problem" and "flow" in text


def test_remotes_reachable_or_not(project, tmp_path):
    assert found(doctor.check_remotes, project)[0][2] == "dvc remote default NAME"
    dvc = [toy.sys.executable, "-m", "dvc", "remote", "add"]
    toy.command(project, *dvc, "-d", "gone", str(tmp_path / "a" / "b"))
    toy.command(project, *dvc, "later", str(tmp_path / "c" / "d"))
    assert [level for level, _, _ in found(doctor.check_remotes, project)] == ["problem", "note"]
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert found(doctor.check_remotes, project)[0][0] == "ok"


def test_a_server_that_does_not_answer(project, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    level, text, remedy = found(doctor.check_servers, project)[0]
    assert level == "problem" and "does not answer" in text and "plumb up" in remedy


def test_a_full_disk_is_a_problem(project, monkeypatch):
    monkeypatch.setattr(doctor, "DISK_BYTES", 1e18)
    ((level, _, remedy),) = found(doctor.check_disk, project)
    assert level == "problem" and "free some space" in remedy


def test_a_check_that_fails_is_a_finding(project, monkeypatch):
    (project / "dvc.yaml").write_text("stages: [")
    (project / ".dvc" / "config").write_text("[core\n")
    findings = doctor.examine(project)
    assert any(f.level == "problem" and f.subject == "remotes" for f in findings)


def test_show_prints_the_remedy():
    out = console(file=io.StringIO(), width=100)
    doctor.show([doctor.Finding("problem", "disk", "0 GB [free]", "free some")], out)
    assert out.file.getvalue() == "✗ disk      0 GB [free]\n            → free some\n"


def test_the_command_exits_with_its_findings(project):
    answer = toy.plumb(project, "doctor")
    assert answer.returncode == 1 and "no default DVC remote" in answer.stdout
