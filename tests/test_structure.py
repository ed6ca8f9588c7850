"""The rules of the house, read from the source: one-way imports, and dvc.yaml in agreement with the stages."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.config import sections
from tasks.runner import pipeline
from tests.import_closure import ROOT, dependencies, reruns

FORBIDDEN = {
    "models": {"tasks", "flows", "mlflow", "prefect", "dvc", "yaml"},
    "tasks": {"flows", "prefect", "dvc", "mlflow"},
    "flows": {"torch", "transformers", "trl", "peft", "models"},
}
LIGHT_TASKS = {"tasks"} | {
    f"tasks.{name}"
    for name in (
        "artifacts artifacts.champion artifacts.contracts common common.errors common.plain_yaml "
        "common.progress common.rows common.yaml_versions common.hashes config data data.collecting data.contents "
        "data.example "
        "data.fields data.forms data.marks data.messages data.reading data.rendering data.tables data.values "
        "intake intake.forgetting intake.held_data intake.inbound intake.ledger intake.rows judging "
        "judging.costs judging.templates preflight preflight.outside prepare reporting reporting.judge_card "
        "runner runner.params runner.pipeline runner.state"
    ).split()
} | {f"tasks.config.{file.stem}" for file in (ROOT / "tasks" / "config").glob("[a-z]*.py")}
# Statistics on tables: numpy and scipy, no torch. The command line imports them inside the commands that need them.
TABLE_TASKS = {"tasks.tools", "tasks.tools.ratings"}
SUBPROCESSES = {"flows/history/log_model.py", "flows/serving/verify_model.py"}  # run with `python -m`, never imported
# The packages of each, importing from those before them alone. The flows, and the stages, lie beside theirs.
ROOMS = {
    "models": "statistics compute lm chat hearth reward sampling endpoints samplers ppo judges ratings refusal monitors architectures",
    "tasks": "config common data runner artifacts training answering judging scoring evaluation verdict reporting intake "
             "preflight tools demos",
    "flows": "costs graph storage history hosting alignment serving incoming forgetting schedule cli",
}  # fmt: skip
# What no training may stand on, unless it asks a judge itself.
AFTER_TRAINING = {
    *(f"models/{name}" for name in "hearth judges monitors ratings refusal statistics architectures".split()),
    *(f"tasks/{name}" for name in "judging scoring evaluation verdict reporting intake preflight tools demos".split()),
    *(f"tasks/config/{file.name}" for file in (ROOT / "tasks" / "config").glob("[a-z]*.py")
      if file.stem not in "shared training sft reward dpo ppo".split()),
}
MOST_LINES = 460  # of dvc.yaml, with the stages that it had when this was written,
MORE_LINES = 20  # and for each one that came later
THEN = 17
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES = pipeline.stage_names(PIPELINE)


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""}
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package):
    for file in (ROOT / package).rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        if name in SUBPROCESSES:
            continue
        wrong = {i for i in imports(file) if i.split(".")[0] in FORBIDDEN[package]}
        assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("whole", ROOMS)
def test_packages_stand_in_an_order(whole):
    rooms = ROOMS[whole].split()
    assert {folder.parent.name for folder in (ROOT / whole).glob("*/__init__.py")} == set(rooms)
    for place, room in enumerate(rooms):
        later = {f"{whole}.{name}" for name in rooms[place + 1 :]}
        for file in (ROOT / whole / room).glob("*.py"):
            wrong = {i for i in imports(file) if ".".join(i.split(".")[:2]) in later}
            assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}; packages stand in the order {', '.join(rooms)}"


def test_tests_lie_where_what_they_test_lies():
    """`tests/models/ppo` beside `models/ppo`; runs of the whole graph, and what tests share, have folders of their own."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        folder = file.parent.relative_to(ROOT / "tests")
        assert folder.parts[:1] in {(), ("compat",), ("support",), ("whole",)} or (ROOT / folder).is_dir(), file


def test_no_test_imports_another():
    """What tests share lies in tests/support."""
    for file in (ROOT / "tests").rglob("*.py"):
        wrong = {i for i in imports(file) if i.startswith("tests.") and ".test_" in i}
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


def test_at_the_top_of_tasks_lie_the_stages():
    names = {stage.partition("@")[0] for stage in STAGES}
    files = {file.stem for file in (ROOT / "tasks").glob("*.py")} - {"__init__", "__main__"}
    assert files == names
    for name in names:
        wrong = {i for i in imports(ROOT / "tasks" / f"{name}.py") if i.removeprefix("tasks.") in names}
        assert not wrong, f"the stage {name} imports {wrong}; what stages share lies in a package"


@pytest.mark.parametrize("stage", ["sft", "reward", "dpo", "ppo"])
def test_no_change_after_training_makes_training_run_again(stage):
    """Not of judging, evaluation, gate, report or serving, not even by a package that is listed whole."""
    for path in pipeline.bind(PIPELINE, PARAMS, stage).code:
        files = [file.relative_to(ROOT).as_posix() for file in (ROOT / path).rglob("*.py")] or [path]
        wrong = [file for file in files if file in AFTER_TRAINING or str(Path(file).parent) in AFTER_TRAINING]
        assert not wrong, f"{stage} would run again for {wrong}"


def test_the_graph_can_be_read():
    stages = {stage.partition("@")[0] for stage in STAGES}
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES + MORE_LINES * (len(stages) - THEN)


def test_flows_import_only_the_light_part_of_tasks():
    for file in (ROOT / "flows").rglob("*.py"):
        if file.relative_to(ROOT).as_posix() in SUBPROCESSES:
            continue
        heavy = {i for i in imports(file) if i.split(".")[0] == "tasks"} - LIGHT_TASKS - TABLE_TASKS
        assert not heavy, f"{file.relative_to(ROOT)} imports {heavy}"


def test_the_light_part_of_tasks_imports_nothing_heavy():
    modules = ", ".join(sorted(LIGHT_TASKS))
    code = f"import sys, {modules}; print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_tasks_on_tables_import_no_model_library():
    code = f"import sys, {', '.join(TABLE_TASKS)}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_agrees_with_dvc_yaml(stage):
    name = stage.partition("@")[0]
    binding = pipeline.bind(PIPELINE, PARAMS, stage)
    function = getattr(importlib.import_module(f"tasks.{name}"), name)
    parameters = inspect.signature(function).parameters
    files = [p for p in parameters if p not in ("cfg", "out", "checkpoints")]
    inputs = pipeline.grouped(binding.inputs, parameters)
    assert sorted(files) == sorted(inputs)
    assert inputs.get("policies", {}).keys() <= PIPELINE["stages"]["answers"]["foreach"].keys()
    assert inspect.get_annotations(function, eval_str=True)["cfg"] is sections.STAGES[name]
    assert sorted(binding.params) == sorted(sections.sections(name))
    assert list(binding.code) == dependencies(ROOT / "tasks" / f"{name}.py")
    assert binding.metrics == Path("metrics") / f"{binding.out.name if '@' in stage else name}.json"


def test_the_table_of_stages_that_run_again_is_that_of_dvc_yaml():
    assert (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8") == reruns(PIPELINE)


def test_every_configured_stage_is_in_the_graph():
    assert {s.partition("@")[0] for s in STAGES} == set(sections.STAGES)


def test_names_of_dependencies():
    """The rule in tasks/runner/pipeline.py, case by case."""
    assert pipeline.artifact_name("artifacts/sft") == "sft"
    assert pipeline.artifact_name("artifacts/data/rl_prompts.jsonl") == "rl_prompts"
    assert pipeline.artifact_name("metrics/gate.json") == "gate_metrics"
    assert pipeline.artifact_name("${model.path}") == "model"
    assert pipeline.artifact_name("${item.policy}") == "policy"


def test_what_a_stage_reads_of_several_models_is_one_mapping():
    inputs = {name: Path(name) for name in ("sft", "gold", "select_prompts", "dpo_answers", "ppo_answers", "gate_metrics")}
    given = pipeline.grouped(inputs, ["gold", "select_prompts", "answers", "metrics", "policies"])
    assert given == {
        "policies": {"sft": Path("sft")}, "gold": Path("gold"), "select_prompts": Path("select_prompts"),
        "answers": {"dpo": Path("dpo_answers"), "ppo": Path("ppo_answers")}, "metrics": {"gate": Path("gate_metrics")},
    }


def test_an_unknown_stage_is_named():
    with pytest.raises(ValueError, match="no stage 'stf'; it has prepare"):
        pipeline.bind(PIPELINE, PARAMS, "stf")


def test_a_template_without_its_param_is_named():
    with pytest.raises(ValueError, match="model.path"):
        pipeline.bind(PIPELINE, {}, "sft")


def test_the_gate_prompts_are_read_by_the_gate_alone():
    readers = [s for s in STAGES if "gate_prompts" in pipeline.bind(PIPELINE, PARAMS, s).inputs]
    assert readers == ["gate"]


def test_no_stage_imports_the_preflight():
    """It looks at stages; a check that changes re-runs none of them."""
    for stage in STAGES:
        assert not [path for path in pipeline.bind(PIPELINE, PARAMS, stage).code if path.startswith("tasks/preflight")]


def test_training_never_depends_on_gold():
    for stage in ("sft", "generate", "compare", "reward", "dpo", "ppo"):
        inputs = pipeline.bind(PIPELINE, PARAMS, stage).inputs
        assert not {"gold", "gold_preferences", "select_prompts", "gate_prompts"} & set(inputs)
