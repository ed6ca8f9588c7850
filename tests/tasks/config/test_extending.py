"""docs/extending.md: its blocks are a package that is installed and used as they stand there."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.monitors.answers import Answers
from models.monitors.survey import text_findings
from models.reward.model import reward_model_from_policy
from tasks.artifacts.champion import ORIGIN_FILE
from tasks.artifacts.entrants import entrants
from tasks.common.errors import ConfigError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.compare import compare
from tasks.config.sections import stage_function
from tasks.evaluation.monitor_settings import monitor_settings
from tasks.package import package
from tasks.ppo import ppo
from tasks.runner.params import read_params, stage_config
from tasks.runner.pipeline import bind, grouped
from tasks.select import select
from tests.import_closure import ROOT
from tests.support import prepare_rows
from tests.support.evaluation_rows import answer, prompt
from tests.support.tiny_models import make_gpt2

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
PROJECT = next(tomllib.loads(text) for kind, text in BLOCKS if kind == "toml")["project"]
SETTINGS = {}
for language, block in BLOCKS:
    if language == "yaml" and not block.startswith("# dvc.yaml"):
        SETTINGS |= yaml.safe_load(block)
PINNED = [section for section, values in SETTINGS.items() if "plugins" in values]


def code(name):
    return next(text for kind, text in BLOCKS if text.startswith(f"# {name}\n"))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The folder of an installation: the page's modules, and the metadata that pip writes of its pyproject.toml."""
    site = tmp_path / "site"
    for _, text in BLOCKS:
        if path := re.match(r"# (acme/\w+\.py)\n", text):
            (site / path[1]).parent.mkdir(parents=True, exist_ok=True)
            (site / path[1]).write_text(text)
    install(site, PROJECT["version"])
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


def install(site, version):
    folder = site / "acme_plumbline-1.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {version}\n")
    groups = PROJECT["entry-points"].items()
    lines = [line for group, entries in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")


def params(**changes):
    """The project's params with the page's; sections in `changes` on top."""
    every = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    every["chosen"] = {**every["sft"], "plugins": {PROJECT["name"]: PROJECT["version"]}, "epochs": 1.0, "batch_size": 4}
    for section, values in [*SETTINGS.items(), *changes.items()]:
        every[section] = {**every.get(section, {}), **values}
    return every


def test_every_settings_of_the_page_is_read(installed, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params()))
    assert read_params(path)["count_words"]["longest"] == 3
    code = "import sys; from pathlib import Path; from tasks.runner.params import read_params; " \
           "read_params(Path(sys.argv[1])); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment(installed), check=True,
                          capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("section", PINNED)
def test_another_version_must_be_stated(installed, tmp_path, section):
    """As nothing else of a stage's key tells that the package changed."""
    install(installed, "1.1")
    every = params()
    for other in (*PINNED, "chosen"):
        every[other]["plugins"] = {PROJECT["name"]: "1.0" if other == section else "1.1"}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(every))
    message = rf"{section}: plugins is .*'1.0'.* comes from .*'1.1'.*; set plugins to that"
    with pytest.raises(ConfigError, match=message):
        read_params(path)


def test_what_is_not_installed_is_named(tmp_path):
    message = "compare.judges.0: 'shorter' is no judge kind; known are 'simulated', .* in the group plumbline.judges"
    with pytest.raises(ConfigError, match=message):
        stage_config(params(), "compare")


def test_settings_of_a_judge_are_checked(installed):
    wrong = {"name": "brief", "kind": "shorter", "slak": 1}
    with pytest.raises(ConfigError, match="compare.judges.0: slak: Extra inputs are not permitted, found 1"):
        stage_config(params(compare={"judges": [wrong]}), "compare")


def test_what_cannot_be_imported_is_named(installed):
    (installed / "acme" / "judges.py").write_text("import nothing_of_that_name\n")
    message = r"judge kind 'shorter' \(acme.judges:shorter of acme-plumbline 1.0\) cannot be"
    with pytest.raises(ConfigError, match=message):
        stage_config(params(), "compare")


def test_two_packages_of_one_name_are_refused(installed):
    other = installed / "other-2.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2\n")
    (other / "entry_points.txt").write_text("[plumbline.judges]\nshorter = acme.judges:shorter\n")
    with pytest.raises(ConfigError, match="acme-plumbline and other both register the judge kind 'shorter'"):
        stage_config(params(), "compare")


def test_the_judge_labels_pairs(installed, tmp_path):
    rows = [prompt(number) for number in range(20)]
    texts = ("one", "one two", "one two three")
    samples = [{**answer(row, text, index), "finished": True} for row in rows for index, text in enumerate(texts)]
    write_jsonl(tmp_path / "in" / "samples.jsonl", samples)
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    write_jsonl(tmp_path / "preferences.jsonl", [])
    cfg = stage_config(params(compare={"strategy": "random", "heldout_fraction": 0.25}), "compare")
    compare(cfg, tmp_path / "in", tmp_path / "prompts.jsonl", tmp_path / "preferences.jsonl", tmp_path / "out")
    labelled = read_jsonl(tmp_path / "out" / "train.jsonl")
    assert labelled
    assert all(len(row["chosen"][0]["content"]) < len(row["rejected"][0]["content"]) for row in labelled)


def test_the_signal_is_maximised(installed, tmp_path):
    base = make_gpt2(tmp_path / "base")
    reward_model_from_policy(load_policy(base)).save_pretrained(tmp_path / "reward")
    load_tokenizer(base).save_pretrained(tmp_path / "reward")
    rows = [{"id": f"p{i}", "root": f"r{i}", "category": "reasoning",
             "prompt": [{"role": "user", "content": f"What is {i}?"}]} for i in range(10)]
    write_jsonl(tmp_path / "rl_prompts.jsonl", rows)
    guards = {"kl_budget": None, "entropy_floor": None, "eos_rate_floor": None, "distinct_floor": None}
    small = {"episodes": 16, "batch_size": 8, "minibatch_size": 4, "max_new_tokens": 8, "guards": guards}
    for folder in ("out", "run"):
        (tmp_path / folder).mkdir()
    ppo(stage_config(params(ppo=small), "ppo"), base, base, tmp_path / "reward", tmp_path / "rl_prompts.jsonl",
        tmp_path / "out", tmp_path / "run")
    curves = read_jsonl(tmp_path / "out" / "curves.jsonl")
    assert all({"reward_reward_model", "reward_exclaims"} <= row.keys() for row in curves)
    assert not any("reward_length" in row for row in curves), "a weight of 0 leaves it out"


def test_the_form_is_read(installed, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    prepare_rows.write(data / "prompts.jsonl", prepare_rows.prompts())
    tickets = [{"customer": f"Where is order {i}?", "agent": f"In van {i}.", "split": "sft"} for i in range(8)]
    prepare_rows.write(data / "demos.jsonl", tickets)
    cfg = prepare_rows.config(**SETTINGS["data"])
    prepare_rows.prepare(cfg, data, tmp_path / "out")
    written = read_jsonl(tmp_path / "out" / "demonstrations.jsonl")
    assert [turn["content"] for turn in written[0]["messages"]] == ["Where is order 0?", "In van 0."]


def test_the_monitor_warns(installed):
    settings = monitor_settings(stage_config(params(), "monitors"), "SFT")
    table = Answers([f"Question {i}?" for i in range(20)], ["It is 7."] * 10 + ["It is late."] * 10)
    (finding,) = text_findings(table, None, settings)
    assert (finding.name, finding.level, finding.number) == ("digits", "warning", 0.5)
    assert finding.sentence == "50.0% of answers hold a digit"


def environment(site):
    modules = os.pathsep.join([str(site), str(ROOT)])
    commands = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    return {**os.environ, "PYTHONPATH": modules, "PATH": commands}


def test_the_stage_runs_alone_and_in_the_graph(installed, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text(yaml.safe_dump(params()))
    (project / "dvc.yaml").write_text(code("dvc.yaml"))
    write_jsonl(project / "artifacts" / "generate" / "samples.jsonl", [{"response": "a b c d"}, {"response": "a b"}])

    def run(*command):
        options = {"cwd": project, "env": environment(installed), "check": True, "capture_output": True, "text": True}
        return subprocess.run(command, **options)

    run(sys.executable, "-m", "tasks", "count_words")
    numbers = project / "metrics" / "count_words.json"
    assert json.loads(numbers.read_text()) == {"words": 3.0}
    numbers.unlink()
    dvc = [sys.executable, "-m", "dvc"]
    run(*dvc, "init", "--no-scm", "-q")
    run(*dvc, "repro", "-q")
    assert json.loads(numbers.read_text()) == {"words": 3.0}
    assert read_jsonl(project / "artifacts" / "count_words" / "long.jsonl") == [{"response": "a b c d"}]
    assert "didn't change" in run(*dvc, "repro").stdout
    install(installed, "1.1")
    every = params()
    for section in (*PINNED, "chosen"):
        every[section]["plugins"] = {PROJECT["name"]: "1.1"}
    (project / "params.yaml").write_text(yaml.safe_dump(every))
    assert "Running stage 'count_words'" in run(*dvc, "repro").stdout


def test_the_method_trains_a_candidate(installed, tmp_path):
    base = make_gpt2(tmp_path / "base")
    rows = [{"id": f"c{i}", "category": "instruction", "prompt": [{"role": "user", "content": f"What is {i}?"}],
             "chosen": [{"role": "assistant", "content": f"It is {i}."}]} for i in range(8)]
    write_jsonl(tmp_path / "compare" / "train.jsonl", rows)
    (tmp_path / "run").mkdir()
    stage = stage_function("chosen")
    assert stage(stage_config(params(), "chosen"), base, tmp_path / "compare", tmp_path / "out", tmp_path / "run")
    scores = [{"model": model, "checkpoint": "final", "prompt_id": "p", "gold": gold, "kl": 0.0}
              for model, gold in (("sft", 0.9), ("dpo", 0.2), ("ppo", 0.3), ("chosen", 0.4))]
    write_jsonl(tmp_path / "evaluate" / "scores.jsonl", scores)
    select(stage_config(params(), "select"), tmp_path / "evaluate", tmp_path / "select")
    assert list(entrants(scores)) == ["sft", "dpo", "ppo", "chosen"]
    policies = {"chosen": tmp_path / "out"}
    package(stage_config(params(), "package"), base, policies, tmp_path / "select", tmp_path / "package")
    assert json.loads((tmp_path / "package" / ORIGIN_FILE).read_text())["method"] == "chosen"
    assert load_policy(tmp_path / "package")


def test_the_method_stands_in_the_graph(installed):
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for name, entry in yaml.safe_load(code("dvc.yaml, beside what stands there"))["stages"].items():
        stage = graph["stages"].setdefault(name, entry)
        if stage is not entry:
            stage.get("foreach", {}).update(entry.get("foreach", {}))
            stage.get("deps", []).extend(entry.get("deps", []))
    assert bind(graph, params(), "answers@chosen").inputs["policy"] == Path("artifacts/chosen")
    for name in ("chosen", "evaluate", "monitors", "gate", "package"):
        inputs = grouped(bind(graph, params(), name).inputs, stage_function(name).__annotations__)
        assert set(inputs) < set(stage_function(name).__annotations__)
        assert "chosen" in inputs.get("policies", inputs.get("answers", {"chosen": ...}))


def test_sft_is_no_candidate():
    with pytest.raises(ConfigError, match="select.methods.0: 'sft' is no method that candidates come from"):
        stage_config(params(select={"methods": ["sft"]}), "select")


def test_a_stage_runs_in_a_notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_gpt2(tmp_path / "base")
    rows = [{"id": f"d{i}", "root": f"r{i}", "category": "instruction", "messages": [
        {"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"It is {i}."}]} for i in range(8)]
    write_jsonl(tmp_path / "demonstrations.jsonl", rows)
    every = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    every["sft"] |= {"epochs": 1.0, "batch_size": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(every))
    names: dict = {}
    exec(compile(code("notebook"), "docs/extending.md", "exec"), names)
    assert names["metrics"] and (tmp_path / "sft" / "curves.jsonl").is_file()
