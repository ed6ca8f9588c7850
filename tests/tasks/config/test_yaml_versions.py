"""Params that PyYAML (the stages) and DVC read differently are refused, wherever they come from; DVC is the oracle."""

import pytest
import yaml
from dvc.utils.serialize import parse_yaml as read_by_dvc

from flows.storage.workspace import change_params
from tasks.common.errors import ConfigError
from tasks.common.plain_yaml import parse_yaml
from tasks.runner.params import read_params
from tests.import_closure import ROOT
from tests.support import toy

NUMBERS = ("1e-4 1E5 -1e-3 12e03 1.0e5 0.1e3 1.0e-4 1.0e+5 .5 1. 5 +1 -0 0.0 012 -012 08 00 0o12 0x1F 0b11 1_000 1_0.5 "
           "1:30 190:20:30.15 .inf -.Inf .nan .NaN")  # fmt: skip
WORDS = ("on On OFF off yes Yes no NO y n true False TRUE ~ null Null nul none = '' 'off' \"012\" !!str 012 "
         "!!float 1e-4 2020-01-01 2001-12-14t21:59:43 12:30:45 hello a=b")  # fmt: skip
SCALARS = [*NUMBERS.split(), *WORDS.replace("!!str 012", "!!str_012").replace("!!float 1e-4", "!!float_1e-4").split()]


def both_read_alike(text: str) -> bool:
    older, newer = yaml.safe_load(text), read_by_dvc(text, "x")
    return repr(older) == repr(newer)


@pytest.mark.parametrize("scalar", [scalar.replace("str_", "str ").replace("float_", "float ") for scalar in SCALARS])
@pytest.mark.parametrize("shape", ["a:\n  b: {}", "a:\n- {}", "{}: 1"], ids=["value", "item", "key"])
def test_a_scalar_is_taken_exactly_where_both_read_the_same(shape, scalar):
    text = shape.format(scalar) + "\n"
    try:
        alike = both_read_alike(text)
    except yaml.YAMLError:  # neither can read `=`
        with pytest.raises(ConfigError, match="f.yaml is not valid YAML: line "):
            parse_yaml(text, "f.yaml")
        return
    if alike:
        assert repr(parse_yaml(text, "f.yaml")) == repr(yaml.safe_load(text))
    else:
        with pytest.raises(ConfigError, match=r"^f.yaml, line \d: .* for the stages, .* for DVC"):
            parse_yaml(text, "f.yaml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  seed: 0 ", "  seed: 012 ", "runtime.seed: 012 is 10 for .* and 12 for DVC.*; write 10 or 12, whichever"),
        ("  threads: 1 ", "  threads: 0o12 ", 'runtime.threads: 0o12 is "0o12" .* and 10 for DVC.*; write "0o12" or 10'),
        ("  epochs: ", "  epochs: 1e0 #", 'sft.epochs: 1e0 is "1e0" for .* and 1.0e.0 for'),
        ("  beta: 0.1 ", "  beta: 1e-4 ", 'dpo.beta: 1e-4 is "1e-4" .* and 1.0e-4 for .*; write "1e-4" or 1.0e-4'),
        ("  bad_rows: refuse", "  bad_rows: no", 'data.bad_rows: no is false for .* and "no" for DVC'),
    ],
)
def test_the_shipped_params_with_one_such_value(tmp_path, old, new, words):
    """Key, line and the way out, before the type of the value is looked at."""
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    file = tmp_path / "params.yaml"
    file.write_text(text.replace(old, new, 1))
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(ConfigError, match=f"params.yaml, line {line}: {words}"):
        read_params(file)


def test_params_files_and_set_say_it_in_one_line(tmp_path):
    folder = toy.make_toy(tmp_path)
    (folder / "other.yaml").write_text(toy.PARAMS.replace("steps: 3", "steps: 012"))
    for arguments, words in (
        (["--params", "other.yaml"], "other.yaml, line 3: second.steps: 012 is 10"),
        (["--set", "second.steps=012"], "--set second.steps=012: second.steps: 012 is 10"),
        (["--set", "first.value=off"], '--set first.value=off: first.value: off is false for the stages'),
    ):
        answer = toy.plumb(folder, "plan", *arguments)
        assert answer.returncode == 1 and answer.stderr.count("\n") == 1 and words in answer.stderr, answer.stderr


@pytest.mark.parametrize(
    "value", ["1e-5", "0.00001", "1E3", "0o12", "'off'", '"012"', "'1:30'", "[1, 'no', 1e-7]", "text", "null"]
)
def test_what_set_writes_both_read_as_dvc_reads_the_value(value):
    """Numbers that YAML 1.1 takes for text are meant as numbers; text stays text. So does text that stood there."""
    changed = change_params("a: {b: 1}\nc: 'yes'\n", {"a.b": value})
    wanted = {"a": {"b": read_by_dvc(f"v: {value}", "x")["v"]}, "c": "yes"}
    assert parse_yaml(changed, "x") == read_by_dvc(changed, "x") == wanted


@pytest.mark.parametrize("value", ["012", "off", "[1, on]", "1:30", "{no: 1}"])
def test_what_set_refuses(value):
    with pytest.raises(ValueError, match="for the stages, which read YAML 1.1, and .* for DVC"):
        change_params("a: {b: 1}\n", {"a.b": value})


def test_files_of_the_repository_are_read_alike():
    for file in (ROOT / "params.yaml", ROOT / "dvc.yaml", *(ROOT / "infra").rglob("*.yaml")):
        parse_yaml(file.read_text(encoding="utf-8"), file.name)
