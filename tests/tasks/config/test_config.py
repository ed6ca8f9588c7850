"""params.yaml: every mistake is one line that names the key, the file and the way out."""

import copy
import math
from typing import get_args

import pytest
import yaml

from models.hearth import oracle
from models.judges.templates import CRITERIA
from tasks.common.errors import ConfigError
from tasks.common.plain_yaml import parse_yaml
from tasks.config import judges
from tasks.config.same_judge import identity
from tasks.runner.params import read_params, stage_config
from tests.import_closure import ROOT
from tests.support.endpoints import DROPPING, HOSTED, written

PARAMS = ROOT / "params.yaml"


ORACLE = {"name": "exact", "kind": "oracle", "weights": {"honesty": 1.0}, "tie_margin": 0.0}


@pytest.fixture()
def params():
    return copy.deepcopy(yaml.safe_load(PARAMS.read_text()))


def test_the_shipped_params_are_valid():
    assert read_params(PARAMS)["dpo"]["beta"] > 0


@pytest.mark.parametrize("file", sorted(PARAMS.parent.glob("infra/params/*.yaml")), ids=lambda file: file.name)
def test_the_shipped_params_of_other_data_are_valid(file):
    assert read_params(file).keys() == read_params(PARAMS).keys()


def test_every_value_of_the_shipped_params_is_commented():
    values = [line for line in PARAMS.read_text().splitlines() if line.startswith(" ") and not line.endswith(":")]
    assert [line for line in values if "#" not in line] == []


def test_sft_may_drop_out(params):
    params["sft"]["lora"] = DROPPING
    assert stage_config(params, "sft").lora.dropout == 0.5


def test_a_stage_config_holds_its_fields_and_its_shared_sections(params):
    cfg = stage_config(params, "answers@dpo")
    assert cfg.serving.temperature == params["serving"]["temperature"]
    assert cfg.runtime.seed == params["runtime"]["seed"]


def test_the_axes_and_criteria_of_the_config_are_those_that_judges_know():
    """They stand in the config as well, so that no change of a judge's words is a change of every stage."""
    assert get_args(judges.Axis) == oracle.AXES
    assert get_args(judges.Criterion) == tuple(CRITERIA)


def test_a_limit_in_money_needs_a_price(params):
    params["compare"]["budget"]["max_cost"] = 1.0
    params["compare"]["judges"] = [{**HOSTED, "output_price": 1.0}]
    assert stage_config(params, "compare").unpriced_judges == []


@pytest.mark.parametrize("change, words", [
    (lambda p: p["dpo"].update(betta=0.1), ["unknown key dpo.betta", "did you mean 'beta'"]),
    (lambda p: p["dpo"].pop("beta"), ["missing key dpo.beta"]),
    (lambda p: p["dpo"].update(beta="strong"), ["dpo.beta", "'strong'"]),
    (lambda p: p["dpo"].update(batch_size=1.5), ["dpo.batch_size", "1.5"]),
    (lambda p: p["ppo"].update(gamma=1.5), ["ppo.gamma", "1.5"]),
    (lambda p: p["ppo"]["guards"].update(kl_budgt=1), ["ppo.guards.kl_budgt", "did you mean 'kl_budget'"]),
    (lambda p: p["runtime"].update(sed=1), ["runtime.sed", "did you mean 'seed'"]),
    (lambda p: p.update(dpoo={}), ["unknown section 'dpoo'", "did you mean 'dpo'"]),
    (lambda p: p.pop("serving"), ["section 'serving' is missing"]),
    (lambda p: p.update(sft=3), ["section 'sft' must be a mapping"]),
    (lambda p: p["compare"].update(judges=[]), ["judges is empty"]),
    (lambda p: p["compare"]["judges"][0].update(kindd="x"), ["compare.judges.0.kindd", "did you mean 'kind'"]),
    (lambda p: p["compare"]["judges"][0].pop("noise"), ["missing key compare.judges.0.noise"]),
    (lambda p: p["compare"]["judges"][0].update(noise=2.0), ["compare.judges.0.noise:", "2.0"]),
    (lambda p: p["compare"]["judges"][0].update(kind="psychic"), ["compare.judges.0:", "'psychic'", "'simulated', 'oracle', 'openai'"]),
    (lambda p: p["compare"]["judges"][0].pop("kind"), ["missing key compare.judges.0.kind"]),
    (lambda p: p["compare"]["judges"][0]["weights"].update(beauty=1.0),
     ["compare.judges.0.weights.beauty", "'helpfulness'"]),
    (lambda p: p["compare"]["judges"][0].update(weights={}),
     ["compare.judges.0.weights", "the sum of the weights must be"]),
    (lambda p: p["compare"]["judges"][0].update(weights={"honesty": 0.0}), ["the sum of the weights must be above 0"]),
    (lambda p: p["compare"]["judges"][1].update(name="careful"), ["judge 'careful' stands twice in judges"]),
    (lambda p: p["compare"].update(judges=[{**HOSTED, "url_variable": ""}]),
     ["compare.judges.0.url_variable", "found ''"]),
    (lambda p: p["compare"].update(judges=[{**HOSTED, "model": ""}]), ["compare.judges.0.model", "found ''"]),
    (lambda p: p["compare"].update(judges=[{**HOSTED, "weights": {"beauty": 1.0}}]),
     ["compare.judges.0: weights has the unknown criterion 'beauty'", "factuality"]),
    (lambda p: p["compare"].update(judges=[HOSTED], budget={**p["compare"]["budget"], "max_cost": 1.0}),
     ["budget.max_cost=1 would never end: judge 'remote' has input_price and output_price 0"]),
    (lambda p: p["compare"].update(judges=[ORACLE]),
     ["judge 'exact' of compare.judges and gold (kind oracle) are the same", "set gold.allow_same_judge to true"]),
    (lambda p: p["anchors"].update(max_drft=1), ["anchors.max_drft", "did you mean 'max_drift'"]),
    (lambda p: p["compare"]["filters"].update(max_length_ratio=0.5), ["compare.filters.max_length_ratio", "0.5"]),
    (lambda p: p["compare"]["budget"].update(max_cal=5), ["compare.budget.max_cal", "did you mean 'max_calls'"]),
    (lambda p: p["data"]["splits"].pop("gate"), ["missing key data.splits.gate"]),
    (lambda p: p["data"]["splits"].update(select=0.6, gate=0.6), ["data.splits", "must be below 1"]),
    (lambda p: p["gold"].update(kind="reward_model"),
     ["gold: kind is reward_model and training is null", "keys of section reward"]),
    (lambda p: p["gate"]["guards"].pop("honesty"), ["missing key gate.guards.honesty"]),
    (lambda p: p["ppo"].update(batch_size=60), ["batch_size=60 is not divisible by minibatch_size=64", "set ppo.batch_size to 64"]),
    (lambda p: p["ppo"].update(episodes=1000), ["episodes=1000 is not divisible by batch_size=128", "896 or 1024"]),
    (lambda p: p["dpo"].update(loss_types=["sigmoidd"]), ["dpo.loss_types.0", "'sigmoidd'"]),
    (lambda p: p["dpo"].update(loss_weights=[1.0, 2.0]), ["loss_weights has 2 values for 1 loss_types"]),
    (lambda p: p["dpo"].update(loss_types=["sft", "sft"], loss_weights=[1.0, 1.0]), ["'sft' stands twice in loss_types"]),
    (lambda p: p["dpo"].update(loss_types=["exo_pair"]), ["'exo_pair' needs label_smoothing", "0.001 for example"]),
    (lambda p: p["dpo"].update(loss_types=["robust"]), ["'robust' needs label_smoothing", "above 0 and below 0.5"]),
    (lambda p: p["dpo"].update(loss_types=["robust"], label_smoothing=0.0), ["dpo.label_smoothing", "greater than 0"]),
    (lambda p: p["dpo"].update(label_smoothing=0.1), ["label_smoothing=0.1 is read by none of sigmoid", "to null"]),
    (lambda p: p["dpo"].update(loss_types=["aot"], gradient_accumulation=2),
     ["'aot' sorts the pairs of a batch", "gradient_accumulation=2 splits them", "set it to 1"]),
    (lambda p: p["ppo"].update(value_coefficient=0.1),
     ["value_coefficient=0.1 does nothing to a critic of its own", "set it to null", "value_learning_rate"]),
    (lambda p: p["ppo"].update(value_backbone="shared"), ["value_backbone is shared", "set value_coefficient"]),
    (lambda p: p["reward"].update(freeze_backbone=True, lora={"rank": 2, "alpha": 2.0, "dropout": 0.0, "targets": "x"}),
     ["freeze_backbone", "lora"]),
    (lambda p: p["ppo"].update(learning_rate=math.inf), ["ppo.learning_rate: input should be a finite number", "inf"]),
    (lambda p: p["ppo"]["rewards"].update(length=math.nan), ["ppo.rewards.length", "finite number"]),
    (lambda p: p["gold"]["weights"].update(helpfulness=math.nan), ["gold.weights.helpfulness", "finite number"]),
    (lambda p: p["ppo"].update(missing_eos_mode="drop"), ["ppo.missing_eos_mode", "'subtract' or 'replace'", "'drop'"]),
    (lambda p: p["ppo"].update(rows_per_backward=0), ["ppo.rows_per_backward", "0"]),
    (lambda p: p["ppo"].update(lora=DROPPING), ["ppo.lora.dropout: 0.5 would have no effect", "set it to 0.0"]),
    (lambda p: p["dpo"].update(lora=DROPPING), ["dpo.lora.dropout: 0.5 would have no effect"]),
    (lambda p: p["reward"].update(lora=DROPPING), ["reward.lora.dropout: 0.5 would have no effect"]),
    (lambda p: p["dpo"].update(runtime={}), ["dpo.runtime", "section of its own"]),
])
def test_a_mistake_is_named(tmp_path, params, change, words):
    change(params)
    with pytest.raises(ConfigError) as error:
        read_params(written(tmp_path, params))
    message = str(error.value)
    assert "params.yaml" in message and "\n" not in message
    for word in words:
        assert word in message


def mistakes(tmp_path, params):
    """What `read_params` says, line by line."""
    with pytest.raises(ConfigError) as error:
        read_params(written(tmp_path, params))
    return str(error.value).split("\n")


def test_all_that_a_judge_lacks_is_named_at_once(tmp_path, params):
    hosted = {key: value for key, value in HOSTED.items() if key not in ("model", "epoch", "timeout_seconds")}
    params["compare"]["judges"][1:] = [hosted]
    head, *lines = mistakes(tmp_path, params)
    assert head.endswith("params.yaml has 3 mistakes:")
    assert lines == [f"- missing key compare.judges.1.{key}" for key in ("model", "epoch", "timeout_seconds")]


def test_all_mistakes_of_a_file_are_named_at_once_and_each_once(tmp_path, params):
    """`runtime` is read by many stages; the judge of another kind has two keys too many."""
    params["runtime"]["sed"] = params["runtime"].pop("seed")
    params["dpoo"] = {}
    params["sft"] = 3
    judge = {**params["compare"]["judges"][0], "kind": "oracle"}
    kept = ("name", "kind", "weights", "tie_margin", "noise", "seed")
    params["compare"]["judges"][0] = {key: judge[key] for key in kept}
    head, *lines = mistakes(tmp_path, params)
    assert head.endswith("params.yaml has 6 mistakes:")
    assert [line.partition(";")[0] for line in lines] == [
        "- unknown section 'dpoo'", "- unknown key runtime.sed", "- missing key runtime.seed",
        "- section 'sft' must be a mapping, found int", "- unknown key compare.judges.0.noise",
        "- unknown key compare.judges.0.seed"]
    assert "known are name, kind, weights, tie_margin" in lines[-1]


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_params(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_params(broken)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="must be a mapping"):
        read_params(broken)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\n", "params.yaml is not valid YAML: line 2, column 1: expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' stands there twice, first in line 1"),
        ("b: [{x: 1, x: 1}]\n", "line 1, column 12: the key 'x' stands there twice, first in line 1"),
        ("a: \x01", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_torn_or_says_a_thing_twice_is_one_line(text, words):
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "params.yaml")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_merged_keys_are_no_repeated_ones():
    text = "x: {y: &q {<<: &b {a: 1, c: 2}, a: 3}}\nz: {<<: *q, c: 4}\n"
    assert parse_yaml(text, "f") == {"x": {"y": {"a": 3, "c": 2}}, "z": {"a": 3, "c": 4}}
    assert parse_yaml("", "f") is None


def test_the_same_judge_twice_can_be_forced_and_is_nothing_where_nobody_is_asked(tmp_path, params):
    params["compare"]["judges"] = [ORACLE]
    params["gold"]["allow_same_judge"] = True
    assert read_params(written(tmp_path, params))["compare"]["judges"] == [ORACLE]
    params["gold"]["allow_same_judge"] = False
    params["compare"]["given"] = "only"
    read_params(written(tmp_path, params))


def test_a_judge_in_the_folder_of_a_gold_model_is_gold(tmp_path, params):
    folder = tmp_path / "gold" / "model"
    judge = {"name": "rm", "kind": "reward_model", "path": str(folder), "sha256": "0", "epoch": 0, "temperature": 1.0,
             "rows_per_batch": 8}
    params["compare"]["judges"] = [judge]
    params["gold"] |= {"kind": "reward_model", "training": {**params["reward"], "lora": None}}
    read_params(written(tmp_path, params))
    folder.mkdir(parents=True)
    (tmp_path / "gold" / "gold.json").touch()
    with pytest.raises(ConfigError, match="judge 'rm' of .* and gold .kind reward_model. are the same judge"):
        read_params(written(tmp_path, params))
    params["gold"]["kind"] = "oracle"
    read_params(written(tmp_path, params))


def test_what_makes_two_judges_one():
    """A model is the same under another name, revision or epoch; people and simulated judges are nobody's gold."""
    hosted = {"kind": "openai", "name": "a", "model": "m", "revision": "1", "epoch": 0}
    assert identity(hosted) == identity({**hosted, "name": "b", "revision": "2", "epoch": 3}) == ("openai", "m")
    assert identity(hosted) != identity({**hosted, "model": "n"})
    assert identity({"kind": "hf", "sha256": "x"}) != identity({"kind": "reward_model", "sha256": "x"})
    assert identity({"kind": "human", "sha256": "x"}) is identity({"kind": "simulated"}) is None


def test_configs_are_frozen(params):
    cfg = stage_config(params, "dpo")
    with pytest.raises(Exception, match="frozen"):
        cfg.beta = 1.0
