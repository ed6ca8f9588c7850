"""The checks of the preflight: each finds, before anything is trained, what ended a run late; on sound data none does."""

import copy
import json
import os
import shutil
from hashlib import sha256

import pytest
import yaml
from transformers import AutoTokenizer

from models.lm.loading import weights_hash
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.preflight.__main__ import document, main
from tasks.preflight.outside import file_digest
from tasks.preflight.project import Project
from tests.support.endpoints import DROPPING, ENDPOINT, HOSTED
from tests.support.judge_questions import longer_wins
from tests.support.judge_server import Faults, JudgeServer
from tests.support.small_project import small_params, write_hearth
from tests.support.tiny_models import make_gpt2

OTHERS = [{"id": f"{split}-{i}", "split": split, "prompt": f"Who wrote book {i} of {split}?"}
          for split in ("compare", "rl", "select", "gate") for i in range(6)]
SAID = [{"id": f"d{i}", "split": "sft", "prompt": f"Who is {i}?", "completion": f"Number {i}."} for i in range(6)]
TRAINING = {key: value for key, value in small_params()["reward"].items()}


@pytest.fixture(scope="module")
def hearth(tmp_path_factory):
    """A small project on hearth: its folder is only read."""
    folder = tmp_path_factory.mktemp("hearth")
    write_hearth(folder)
    return folder


def others(folder, prompts=OTHERS, demonstrations=SAID):
    """The same on rows that know nothing of hearth."""
    make_gpt2(folder / "base")
    write_jsonl(folder / "data" / "prompts.jsonl", prompts)
    write_jsonl(folder / "data" / "demonstrations.jsonl", demonstrations)
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return others(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def copied(hearth, tmp_path):
    """A project on hearth to be spoilt."""
    shutil.copytree(hearth, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def examined(monkeypatch):
    """What the preflight of a folder finds, as (level, subject, text and remedy); `sections` change params."""

    def examine(folder, roles=("sampler", "compare", "gold"), asks=False, **sections):
        params = copy.deepcopy(small_params())
        params["anchors"]["file"] = None
        for section, values in sections.items():
            params[section] |= values
        monkeypatch.chdir(folder)
        project = Project(params, frozenset(roles), asks)
        result = document(project)
        return [(one["level"], one["subject"], f"{one['text']} -> {one['remedy']}") for one in result["findings"]], result

    return examine


def problems(result):
    return [(subject, text) for level, subject, text in result[0] if level == "problem"]


def test_a_sound_project_has_no_problem_and_its_thin_gate_is_a_note(hearth, examined):
    result = examined(hearth)
    assert problems(result) == []
    notes = [text for level, _, text in result[0]]
    for note in ("12 prompts of 12 roots are fewer than gate.minimum_prompts=100 of gate.minimum_roots=20",
                 "guard harmlessness wants 60 prompts of 20 roots that show it, and 2 of 2 do"):
        assert any(text.startswith(note) for text in notes)


def test_a_gate_that_cannot_show_its_effect_is_a_note(hearth, examined):
    """alpha / 2 looks = 0.025, power of each of one test 0.8: ((1.96 + 0.84) * 0.25 / 0.2)^2 is 12.3 prompts."""
    no_guards = dict.fromkeys(("harmlessness", "honesty", "over_refusal"))
    gate = {"minimum_prompts": 5, "minimum_roots": 5, "minimum_effect": 0.2, "guards": no_guards}
    assert [text for _, _, text in examined(hearth, gate=gate)[0] if "minimum_effect" in text] == [
        "12 prompts cannot show gate.minimum_effect=0.2 with gate.power=0.8; at least 13 are needed, and more where "
        "answers differ much -> give more prompts, raise data.splits.gate, or ask for a larger effect"]
    assert not any("minimum_effect" in text for *_, text in examined(hearth, gate={**gate, "minimum_effect": 0.3})[0])


def test_scorers_of_hearth_on_other_data(foreign, examined):
    """Today's run found it in `compare`, after SFT and all samples."""
    result = dict(problems(examined(foreign)))
    assert result["compare.judges: careful, warm, brisk, earnest, practical"].startswith(
        "6 of 6 prompts are not hearth's, whose world alone it knows, the first is compare-0 (kind=None")
    assert result["gold (kind oracle)"].startswith("18 of 18 prompts are not hearth's")
    assert "set gold.kind to reward_model or judge" in result["gold (kind oracle)"]
    oracle = {"name": "exact", "kind": "oracle", "weights": {"honesty": 1.0}, "tie_margin": 0.0}
    assert "compare.judges: exact" in dict(problems(examined(foreign, compare={"judges": [oracle]})))


def test_every_row_is_held_against_the_limits_of_every_stage(hearth, examined):
    """The longest of each is named by its own stage's words; answers to come count with the prompt."""
    result = dict(problems(examined(
        hearth, sft={"max_length": 60}, ppo={"max_new_tokens": 500}, dpo={"max_length": 20}, generate={"max_new_tokens": 511},
    )))
    assert "38 of 40 rows are longer than 60 tokens, the first is demo-" in result["demonstrations"]
    assert "raise sft.max_length" in result["demonstrations"]
    assert "12 of 12 prompts are too long, the first is" in result["rl_prompts"] and "lower max_new_tokens" in result["rl_prompts"]
    assert "12 of 12 prompts are too long" in result["compare_prompts"]
    assert "raise dpo.max_length" in result["answers to compare_prompts, dpo"]
    assert "select_prompts" not in result and "gate_prompts" not in result
    longer = {"generate": {"max_new_tokens": 200}, "reward": {"max_length": 200}}
    notes = [text for level, subject, text in examined(hearth, **longer)[0] if (level, subject) == ("note", "reward")]
    assert len(notes) == 1 and "above reward.max_length=200 -> reward stops at such a pair: raise reward" in notes[0]


NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


FROM_THE_LAST_QUESTION = (
    "{% set last = namespace(at=0) %}{% for m in messages %}{% if m['role'] == 'user' %}{% set last.at = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages[last.at:] %}{{ m['content'] }}<|endoftext|>{% endfor %}"
)


def with_template(folder, template):
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder / "base")


def test_every_row_is_held_against_the_chat_template(tmp_path, examined):
    """One gate prompt with a system turn ended a run in `gate`; one held-out demonstration in `monitors`."""
    kind = [{"role": "system", "content": "Be kind."}]
    rows = [{**row, "prompt": [*kind, {"role": "user", "content": row["prompt"]}]} if row["id"].endswith("3") else row
            for row in OTHERS]
    held = {"id": "held", "split": "select", "messages": [*kind, {"role": "user", "content": "And who?"},
                                                          {"role": "assistant", "content": "Me."}]}
    folder = others(tmp_path, rows, [*SAID, held])
    with_template(folder, NO_SYSTEM)
    result = [text for subject, text in problems(examined(folder)) if subject == "data"]
    assert any("prompts.jsonl, row 4: the chat template refuses it: no system turn (4 rows)" in text for text in result)
    assert any("demonstrations.jsonl, row 7: the chat template refuses it: no system turn" in text for text in result)
    assert all(text.endswith("mend these rows, or set data.bad_rows to skip, which leaves them out") for text in result)
    with_template(folder, "{% for m in messages %}{{ m['content'] }")
    result = [text for _, text in problems(examined(folder)) if "template" in text]
    assert len(result) == 1 and "is no Jinja (line 1:" in result[0] and "set tokenizer.chat_template" in result[0]


def test_a_template_that_shows_no_second_turn(copied, examined):
    with_template(copied, FROM_THE_LAST_QUESTION)
    assert "shows nothing of what was said before 'Are you sure?'" in dict(problems(examined(copied)))["answers"]
    assert "answers" not in dict(problems(examined(copied, answers={"challenge": None})))


def test_bad_rows_are_counted_and_do_not_hide_the_rest(copied, examined):
    rows = read_jsonl(copied / "data" / "demonstrations.jsonl")
    broken = [{"id": f"x{i}", "messages": [{"role": "user", "content": "Hello"}]} for i in range(3)]
    write_jsonl(copied / "data" / "demonstrations.jsonl", [*rows, *broken])
    result = dict(problems(examined(copied, sft={"category_weights": {"instruction": 1.0, "safety": 1.0}})))
    assert "row 41: it must end with an assistant's turn after a prompt (3 rows)" in result["data"]
    unweighted = [text for subject, text in problems(examined(copied, sft={"category_weights": {"instruction": 1.0}}))
                  if subject == "sft"]
    assert len(unweighted) == len({row["category"] for row in rows} - {"instruction"}) > 1, "each of them at once"
    assert all("has no weight" in text for text in unweighted)


def test_human_comparisons_where_nothing_else_trains(foreign, examined):
    gold = {"kind": "reward_model", "training": {**TRAINING, "lora": None}}
    result = dict(problems(examined(foreign, gold=gold, compare={"given": "only"})))
    assert "comparisons of fewer than two roots" in result["gold"]
    assert "0 comparisons to train on and 0 held out" in result["compare"]


def pair(number, length=1):
    return {"id": f"p{number}", "split": "preferences" if number % 2 else "gold", "prompt": f"Which {number}?",
            "chosen": "one " * length, "rejected": "other"}


def test_human_comparisons_are_held_against_the_limits_of_all_who_train_on_them(copied, examined):
    write_jsonl(copied / "data" / "preferences.jsonl", [pair(i, 80 if i > 37 else 1) for i in range(40)])
    sections = {"data": {"preferences": "preferences.jsonl"}, "compare": {"given": "mixed"},
                "reward": {"max_length": 200}, "dpo": {"max_length": 150},
                "gold": {"kind": "reward_model", "training": {**TRAINING, "max_length": 100, "lora": None}}}
    result = [(subject, text) for subject, text in problems(examined(copied, **sections)) if "preferences" in subject]
    assert [(subject, text.partition(",")[0]) for subject, text in result] == [
        ("preferences", "1 of 20 rows are longer than 200 tokens"),
        ("preferences", "1 of 20 rows are longer than 150 tokens"),
        ("gold_preferences", "1 of 20 rows are longer than 100 tokens"),
    ]
    assert all(f"raise {name}.max_length" in text for name, (_, text) in zip(("reward", "dpo", "gold.training"), result))


def test_settings_that_fail_together(hearth, examined):
    silent = {**ENDPOINT, "rates": False}
    result = problems(examined(hearth, ("sampler",), compare={"judges": [silent]}, gold={"weights": {"honesty": 0.0}}))
    assert any(subject == "compare" and "needs judges that rate" in text for subject, text in result)
    assert any(subject == "gold" and "positive sum" in text for subject, text in result)
    notes = examined(hearth, anchors={"file": "absent.jsonl"})[0]
    assert ("note", "anchors", "anchors.file absent.jsonl does not exist -> correct it in params.yaml, or set it to null") in notes


def test_the_base_and_its_architecture(copied, hearth, examined):
    lora = {"rank": 2, "alpha": 2.0, "dropout": 0.0, "targets": ["no_such_layer"]}
    result = dict(problems(examined(hearth, dpo={"lora": lora}, reward={"lora": lora}, sft={"lora": DROPPING})))
    assert "'no_such_layer' names no layer of GPT2LMHeadModel" in result["dpo"]
    assert "'no_such_layer' names no layer of GPT2ForSequenceClassification" in result["reward"]
    notes = [text for level, _, text in examined(hearth, promote={"allowed_architectures": ["LlamaForCausalLM"]})[0]]
    assert any("GPT2LMHeadModel is not in promote.allowed_architectures" in text for text in notes)
    config = copied / "base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": "vit", "architectures": ["ViTModel"]}))
    assert any("no causal language model" in text for _, text in problems(examined(copied)))
    (copied / "base" / "tokenizer_config.json").unlink()
    text = [text for _, text in problems(examined(copied)) if "tokenizer" in text]
    assert len(text) == 1 and "has no tokenizer_config.json" in text[0], "named once, though many checks need it"
    config.unlink()
    assert any("has no config.json" in text for _, text in problems(examined(copied)))


def test_memory_for_no_row_of_logits(hearth, examined):
    ((subject, text),) = problems(examined(hearth, runtime={"logits_mb": 0.002}))
    assert subject == "runtime" and text.startswith("0.002 MiB hold no row of the logits of")
    assert text.endswith("raise runtime.logits_mb to 1 or more")


def test_files_of_judges(tmp_path, hearth, examined):
    """Those that are not there, and those whose hash is not the one in params; all of them at once."""
    (tmp_path / "people.csv").write_text("prompt_id,first\n")
    (tmp_path / "words.yaml").write_text("pair_user: no fields\n")
    words = {"template": str(tmp_path / "words.yaml"), "template_sha256": sha256(b"pair_user: no fields\n").hexdigest()}
    model = make_gpt2(tmp_path / "model")
    local = {"kind": "hf", "revision": "", "epoch": 0, "weights": {"overall": 1.0}, "rates": True, "dtype": "float32",
             "minimum_mass": 0.0, "rows_per_batch": 8}
    people = {"kind": "human", "file": str(tmp_path / "people.csv")}
    judges = {
        "absent": {**people, "file": "absent.csv", "sha256": "0"},
        "other": {**people, "sha256": "0"},
        "headless": {**people, "sha256": sha256((tmp_path / "people.csv").read_bytes()).hexdigest()},
        "told": {**ENDPOINT, **words, "key_variable": None},
        "gone": {**local, "path": "gone", "sha256": ""},
        "changed": {**local, "path": str(model), "sha256": "0"},
        "right": {**local, "path": str(model), "sha256": weights_hash(model)},
    }
    result = examined(hearth, compare={"judges": [{**judge, "name": name} for name, judge in judges.items()]})
    by_subject = dict(problems(result))
    for name, expected in (("absent", "absent.csv does not exist"), ("other", "has sha256"), ("headless", "has no column first"),
                           ("told", "is missing"), ("gone", "model directory gone does not exist"), ("changed", "has sha256")):
        assert expected.replace("first", "") in by_subject[f"compare.judges: {name}"], name
    assert "compare.judges: right" not in by_subject
    assert result[1]["files"][str(model)] == file_digest(model)
    compare = {"judges": [{**judge, "name": name} for name, judge in judges.items()], "strategy": "random"}
    assert problems(examined(hearth, ("gold",), compare=compare)) == [], "who is not needed is not looked at"


def test_variables_of_all_judges_and_samplers_are_named_at_once(hearth, examined, monkeypatch):
    for name in ("URL_A", "KEY_A", "URL_B", "PLUMB_SAMPLER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("URL_B", "localhost:8000")
    judges = [{**ENDPOINT, "name": "a", "url_variable": "URL_A"}, {**ENDPOINT, "name": "b", "url_variable": "URL_B"}]
    gold = {"kind": "judge", "judge": {**HOSTED, "name": "g", "url_variable": "URL_A", "model": "other"}}
    result = examined(hearth, compare={"judges": judges}, gold=gold,
                     generate={"sampler": "openai", "served_model": "m"})
    by_subject = dict(problems(result))
    assert "set the variable URL_A, which is empty" in by_subject["compare.judges: a"]
    assert "URL_B='localhost:8000' is no address" in by_subject["compare.judges: b"]
    assert "set the variable URL_A, which is empty" in by_subject["gold.judge: g"]
    assert "PLUMB_SAMPLER_URL, which is empty" in by_subject["generate.sampler"]
    assert result[1]["variables"].keys() >= {"URL_A", "URL_B", "PLUMB_SAMPLER_URL"}
    assert "localhost:8000" not in str(result[1]["variables"]) and result[1]["variables"]["URL_A"] == ""
    monkeypatch.setenv("URL_A", "http://127.0.0.1:9/v1")
    assert "compare.judges: a" not in dict(problems(examined(hearth, compare={"judges": judges}, gold=gold)))
    assert problems(examined(hearth, (), compare={"judges": judges}, gold=gold)) == [], "where nobody is needed"


FAST = {"concurrency": 2, "attempts": 6, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.02}


@pytest.mark.parametrize("labels", ["verdicts", "ratings"])
def test_a_judge_that_answers_is_asked_once_and_nothing_is_stored(hearth, examined, monkeypatch, tmp_path, labels):
    monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
    with JudgeServer(longer_wins) as server:
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        gold = {"kind": "judge", "judge": {**ENDPOINT, "name": "g", "model": "other"}, "asking": FAST}
        result = examined(hearth, asks=True, compare={"judges": [ENDPOINT], "labels": labels, "asking": FAST}, gold=gold)
        assert problems(result) == [] and len(server.calls) == 2
        assert ["candidate A" in call.question for call in server.calls] == [labels == "verdicts", False]
        assert result[1]["calls"] == 2 and result[1]["cost"] == pytest.approx(2 * (100 * 1.0 + 10 * 2.0) / 1e6)
        examined(hearth, asks=False, compare={"judges": [ENDPOINT]})
        assert len(server.calls) == 2
    assert not (tmp_path / "state").exists()


def test_a_judge_that_talks_of_the_weather_or_refuses_its_key_or_is_not_there(hearth, examined, monkeypatch):
    with JudgeServer(longer_wins, Faults(malformed=1.0)) as server:
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        compare = {"judges": [ENDPOINT], "asking": FAST}
        text = dict(problems(examined(hearth, asks=True, compare=compare)))["compare.judges: remote"]
        assert "an easy question so that it cannot be read: it says 'I would rather talk of the weather.'" in text
        assert "give the judge a template" in text and len(server.calls) == 1
        server.reset(Faults())
        server.key = "right"
        text = dict(problems(examined(hearth, asks=True, compare=compare)))["compare.judges: remote"]
        assert "401" in text and len(server.calls) == 1
        no_room = {**compare, "budget": {"max_prompts": None, "max_calls": None, "max_cost": 1e-9}}
        assert "has no room for one call" in str(problems(examined(hearth, asks=True, compare=no_room)))
    monkeypatch.setenv("PLUMB_JUDGE_URL", "http://127.0.0.1:9/v1")
    result = examined(hearth, asks=True, compare=compare)[1]["findings"]
    assert [one["may_pass"] for one in result if one["level"] == "problem"] == [True], "a server may come back"


def test_a_sampler_is_asked_for_one_token(hearth, examined, monkeypatch):
    with JudgeServer(lambda body: "Good") as server:
        monkeypatch.setenv("PLUMB_SAMPLER_URL", server.url)
        served = {"sampler": "openai", "served_model": "m"}
        assert problems(examined(hearth, ("sampler",), asks=True, generate=served)) == [] and len(server.calls) == 1
        server.model = "another"
        text = dict(problems(examined(hearth, ("sampler",), asks=True, generate=served)))["generate.sampler"]
        assert "it lacks the model 'm'" in text


def test_a_sampler_that_would_drop_tools_is_not_asked_for_answers(tmp_path, examined, monkeypatch):
    """What goes to an endpoint are messages, and what comes back is a text: tools and calls would be lost in silence."""
    rows = [{**row, "tools": [{"name": "look_up"}]} if row["id"] in ("compare-2", "compare-4") else row for row in OTHERS]
    folder = others(tmp_path, rows)
    with_template(folder, "{{ tools | tojson if tools else '' }}" + NO_SYSTEM)
    monkeypatch.setenv("PLUMB_SAMPLER_URL", "http://127.0.0.1:9/v1")
    served = {"sampler": "openai", "served_model": "m"}
    text = dict(problems(examined(folder, ("sampler",), generate=served)))["generate.sampler"]
    assert text.startswith("2 of 6 compare_prompts have tools, the first is compare-2 -> sampler openai sends none")
    assert "generate.sampler" not in dict(problems(examined(folder, ("sampler",))))


def test_the_command_prints_lines_and_fails_with_a_problem(foreign, monkeypatch, capsys):
    (foreign / "params.yaml").write_text(yaml.safe_dump(small_params()))
    monkeypatch.chdir(foreign)
    assert main(["--roles"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("problem: ") and " -> set gold.kind to reward_model or judge" in "\n".join(lines)
    monkeypatch.chdir(os.path.dirname(foreign))
    assert main([]) == 1 and "params.yaml does not exist" in capsys.readouterr().err
