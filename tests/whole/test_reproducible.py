"""Equal inputs give equal bytes: through Prefect or through `dvc repro` alone, from clean caches."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from flows.graph.stages import Graph
from tests.import_closure import ROOT
from tests.support.small_project import hearth_project, under_version_control


def run(project: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("PLUMB_STATE", "PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def processor_seconds() -> float:
    """What the processes that were started and have ended took of the processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def results(project: Path) -> dict[str, bytes]:
    return {p.relative_to(project).as_posix(): p.read_bytes()
            for folder in ("artifacts", "metrics") for p in sorted((project / folder).rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_prefect_and_dvc_alone_give_the_same_bytes(tmp_path):
    by_flow = under_version_control(hearth_project(tmp_path / "flow"))
    by_dvc = under_version_control(hearth_project(tmp_path / "dvc"))
    run(by_flow, sys.executable, "-m", "flows.cli", "align")
    run(by_dvc, sys.executable, "-m", "dvc", "repro", "-q")
    assert results(by_flow) == results(by_dvc)
    before = processor_seconds()
    run(by_flow, sys.executable, "-m", "dvc", "repro", "-q")
    assert processor_seconds() - before < 3, "nothing changed, so nothing should run"  # 1.5 s; other load counts nothing
    assert f"all {len(Graph(by_flow).stages)} stages" in run(by_flow, sys.executable, "-m", "flows.cli", "align")
    only_dpo_follows(by_flow)


def only_dpo_follows(project: Path) -> None:
    """`dpo.beta` re-runs dpo, its answers and what follows; the judge nothing before compare."""
    params = project / "params.yaml"
    before = params.read_text()
    expected = {"dpo", "answers@dpo", "evaluate", "monitors", "select", "gate", "package", "report"}
    params.write_text(before.replace("beta: 0.1", "beta: 0.3"))
    assert would_run(project) == expected
    params.write_text(before.replace("position_bias: 0.15", "position_bias: 0.1"))
    after_compare = {"compare", "judge", "reward", "ppo", "best_of_n", "answers@ppo"}
    assert would_run(project) == expected | after_compare
    params.write_text(before)


def would_run(project: Path) -> set[str]:
    """The stages that changed, and all that follow them."""
    return {name for name, status in Graph(project).plan().items() if not status.current}
