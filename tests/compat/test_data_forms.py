"""Files of public forms, through `prepare` with a chat template and, two of them, through the whole graph.

Each must give the very bytes of the same rows in our own form.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import __main__ as runner
from tasks.common.errors import DataError
from tasks.data.forms import BY_NAME, FORMS
from tasks.data.marks import MARKS
from tasks.data.rendering import template_check
from tasks.prepare import write_splits
from tasks.runner.pipeline import load_pipeline, stage_names
from tests.import_closure import ROOT
from tests.support.prepare_rows import NO_COLUMNS, config, write
from tests.support.small_project import shrunk, write_project
from tests.support.tiny_models import make_qwen2

ROWS = 60
SYSTEM = "Answer kindly."
# Of what is known of each row: the question, the better answer and the worse one.
Q, GOOD, BAD = "Which way is number {i} on the map?", "Number {i} is north of the river.", "Go away, {i}."
HH = "\n\nHuman: {q}\n\nAssistant:"
CHATML = "<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


def whole(q: str, a: str) -> list[dict[str, str]]:
    return [user(q), assistant(a)]


def own_pair(q: str, good: str, bad: str) -> dict[str, Any]:
    return {"prompt": [user(q)], "chosen": [assistant(good)], "rejected": [assistant(bad)]}


def own_demonstration(q: str, good: str, bad: str) -> dict[str, Any]:
    return {"messages": whole(q, good)}


def with_system(make):
    def made(q: str, good: str, bad: str) -> dict[str, Any]:
        row = make(q, good, bad)
        key = "prompt" if "prompt" in row else "messages"
        return {**row, key: [{"role": "system", "content": SYSTEM}, *row[key]]}

    return made


def below(make):
    """With a context below the question."""
    return lambda q, good, bad: make(f"{q}\n\nThe map is old.", good, bad)


# --- forms of preferences: what a row of ours is in each ---

PAIRS = {
    "pairs": (lambda q, g, b: {"prompt": q, "prompt_id": "x", "chosen": whole(q, g), "rejected": whole(q, b),
                               "messages": whole(q, g), "score_chosen": 8.5, "score_rejected": 3.0}, own_pair),
    "orca-pairs": (lambda q, g, b: {"system": SYSTEM, "question": q, "chosen": g, "rejected": b},
                   with_system(own_pair)),
    "alpaca-pairs": (lambda q, g, b: {"instruction": q, "input": "The map is old.", "chosen": g, "rejected": b},
                     below(own_pair)),
    "input-pairs": (lambda q, g, b: {"system": SYSTEM, "input": q, "chosen": g, "rejected": b, "status": "swapped"},
                    with_system(own_pair)),
    "conversation-pairs": (lambda q, g, b: {"chosen": whole(q, g), "rejected": whole(q, b), "source": "x"}, own_pair),
    "response-pairs": (lambda q, g, b: {"instruction": q, "chosen_response": g, "rejected_response": b}, own_pair),
    "stack-pairs": (lambda q, g, b: {"qid": 1, "question": q, "response_j": g, "response_k": b}, own_pair),
    "sharegpt-pairs": (lambda q, g, b: {"conversations": [{"from": "human", "value": q}], "chosen": gpt(g),
                                        "rejected": gpt(b)}, own_pair),
    "ultrafeedback": (lambda q, g, b: {"source": "x", "instruction": q, "models": ["m", "n"], "completions": [
        {"model": "m", "response": b, "overall_score": 2.0, "principle": "honesty"},
        {"model": "n", "response": g, "overall_score": 8.0}]}, own_pair),
    "scored-completions": (lambda q, g, b: {"prompt": q, "completions": [
        {"response": g, "overall_score": 8.0}, {"response": "It is north.", "overall_score": 7.5},
        {"response": b, "overall_score": 2.0}]}, own_pair),
    "nectar": (lambda q, g, b: {"prompt": HH.format(q=q) + " ", "answers": [
        {"answer": g, "model": "m", "rank": 1.0}, {"answer": b, "model": "n", "rank": 2.0}], "turns": 1}, own_pair),
    "stack-exchange": (lambda q, g, b: {"qid": 1, "question": q, "date": "2024/01/01", "answers": [
        {"answer_id": 1, "text": b, "pm_score": 0}, {"answer_id": 2, "text": g, "pm_score": 3}]}, own_pair),
    "saferlhf": (lambda q, g, b: {"prompt": q, "response_0": b, "response_1": g, "is_response_0_safe": False,
                                  "better_response_id": 1, "safer_response_id": 1}, own_pair),
    "helpsteer2-preference": (lambda q, g, b: {"prompt": q, "response_1": g, "response_2": b, "preference_strength": -2,
                                               "preference_statement": "x"}, own_pair),
    "helpsteer3": (lambda q, g, b: {"domain": "general", "context": [user(q)], "response1": b, "response2": g,
                                    "overall_preference": 3}, own_pair),
    "shp": (lambda q, g, b: {"post_id": "x", "history": q, "human_ref_A": g, "human_ref_B": b, "score_A": 30,
                             "score_B": 3, "labels": 1}, own_pair),
    "webgpt": (lambda q, g, b: {"question": {"dataset": "x", "full_text": q}, "answer_0": b, "score_0": -0.7,
                                "answer_1": g, "score_1": 0.7}, own_pair),
    "summaries": (lambda q, g, b: {"info": {"id": "x", "post": q}, "summaries": [{"text": g}, {"text": b}],
                                   "choice": 0}, own_pair),
    "arena": (lambda q, g, b: {"conversation_a": whole(q, b), "conversation_b": whole(q, g), "winner": "model_b"},
              own_pair),
    "hh": (lambda q, g, b: {"chosen": f"{HH.format(q=q)} {g}", "rejected": f"{HH.format(q=q)} {b}"}, own_pair),
    "hh, prompt apart": (lambda q, g, b: {"prompt": HH.format(q=q), "response": f" {g}", "chosen": f" {g}",
                                          "rejected": f" {b}"}, own_pair),
    "chatml": (lambda q, g, b: {"prompt": CHATML.format(q=q), "chosen": f"{g}<|im_end|>\n",
                                "rejected": f"{b}<|im_end|>\n"}, own_pair),
}  # fmt: skip
DEMONSTRATIONS = {
    "messages": (lambda q, g, b: {"prompt": q, "prompt_id": "x", "messages": whole(q, g), "source": "x"},
                 own_demonstration),
    "sharegpt": (lambda q, g, b: {"system_prompt": SYSTEM, "conversations": [{"from": "human", "value": q}, gpt(g)]},
                 with_system(own_demonstration)),
    "exchanges": (lambda q, g, b: {"source": "x", "conversation": [{"input": q, "output": g}]}, own_demonstration),
    "completion": (lambda q, g, b: {"prompt": [user(q)], "completion": whole(q, g)}, own_demonstration),
    "alpaca": (lambda q, g, b: {"instruction": q, "input": "The map is old.", "output": g, "text": "Below is …"},
               below(own_demonstration)),
    "dolly": (lambda q, g, b: {"instruction": q, "context": "The map is old.", "response": g},
              below(own_demonstration)),
    "response": (lambda q, g, b: {"prompt": q, "response": g}, own_demonstration),
    "orca": (lambda q, g, b: {"id": f"niv.{q}", "system_prompt": SYSTEM, "question": q, "response": g},
             lambda q, g, b: {"id": f"niv.{q}", **with_system(own_demonstration)(q, g, b)}),
    "question-answer": (lambda q, g, b: {"question": q, "answer": g}, own_demonstration),
    "query-response": (lambda q, g, b: {"query": q, "response": g, "type": "x"}, own_demonstration),
    "input-output": (lambda q, g, b: {"input": q, "output": g}, own_demonstration),
    "aya": (lambda q, g, b: {"inputs": q, "targets": g, "language": "English"}, own_demonstration),
    "guanaco": (lambda q, g, b: {"text": f"### Human: {q}### Assistant: {g}"}, own_demonstration),
}  # fmt: skip
PROMPTS = {
    "prompt": lambda q: {"prompt": q},
    "question": lambda q: {"question": q, "answer_key": "x"},
    "instruction": lambda q: {"instruction": q, "input": ""},
}
# The form in the registry, where the case has another name, since its texts are written with marks.
REGISTERED = {"hh": "conversation-pairs", "hh, prompt apart": "pairs", "chatml": "pairs", "guanaco": "text"}
REFUSED = {
    "oasst-tree": {"message_id": "a", "text": "x", "role": "prompter", "message_tree_id": "a"},
    "unpaired (KTO)": {"prompt": "q", "completion": "a", "label": False},
    "unpaired (BeaverTails)": {"prompt": "q", "response": "a", "is_safe": False},
}
SEEN_IN = {
    "hh, prompt apart": "Dahoas/full-hh-rlhf, Dahoas/rm-static",
    "unpaired (KTO)": "trl-lib/kto-mix-14k",
    "unpaired (BeaverTails)": "PKU-Alignment/BeaverTails",
}


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    return template_check(make_qwen2(tmp_path_factory.mktemp("base")))


def rows_of(make) -> list[dict[str, Any]]:
    return [make(*(text.format(i=i) for text in (Q, GOOD, BAD))) for i in range(ROWS)]


def prepared(folder: Path, check, **files: list[dict[str, Any]]) -> dict[str, bytes]:
    """All files that prepare writes of these rows."""
    folder.mkdir()
    for kind in ("demonstrations", "prompts", "preferences"):
        write(folder / f"{kind}.jsonl", files.get(kind, []))
    names = {kind: f"{kind}.jsonl" if kind in files else None for kind in ("prompts", "preferences")}
    cfg = config(demonstrations="demonstrations.jsonl", columns=NO_COLUMNS, **names).data
    write_splits(cfg, folder, folder / "out", check)
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def seen_in(form: str) -> str:
    return SEEN_IN.get(form) or (MARKS[form].seen_in if form in MARKS else BY_NAME[REGISTERED.get(form, form)].seen_in)


@pytest.mark.parametrize("form", PAIRS)
def test_preferences_give_the_bytes_of_our_own_form(form, tmp_path, check, compat_row):
    """Demonstrations and prompts of the same file, too."""
    theirs, ours = map(rows_of, PAIRS[form])
    files = [
        prepared(tmp_path / name, check, demonstrations=rows, preferences=rows)
        for name, rows in (("theirs", theirs), ("ours", ours))
    ]
    assert files[0] == files[1] and files[0]["preferences.jsonl"] and files[0]["gate_prompts.jsonl"]
    judged = "answers" in BY_NAME.get(form, BY_NAME["pairs"]).columns
    rule = ": the best against each clearly worse" if judged else ""
    compat_row("data-forms", form, seen_in(form), f"comparisons{rule}")


@pytest.mark.parametrize("form", DEMONSTRATIONS)
def test_demonstrations_give_the_bytes_of_our_own_form(form, tmp_path, check, compat_row):
    theirs, ours = map(rows_of, DEMONSTRATIONS[form])
    made = (("theirs", theirs), ("ours", ours))
    files = [prepared(tmp_path / name, check, demonstrations=rows) for name, rows in made]
    assert files[0] == files[1] and files[0]["demonstrations.jsonl"] and files[0]["gate_prompts.jsonl"]
    compat_row("data-forms", form, seen_in(form), "demonstrations, and their prompts")


@pytest.mark.parametrize("form", PROMPTS)
def test_prompts_give_the_bytes_of_our_own_form(form, tmp_path, check, compat_row):
    makers = (lambda q, g, b: PROMPTS[form](q), lambda q, g, b: {"prompt": [user(q)]})
    demonstrations = [{**row, "split": "sft"} for row in rows_of(lambda q, g, b: own_demonstration(f"Now: {q}", g, b))]
    files = [
        prepared(tmp_path / name, check, demonstrations=demonstrations, prompts=rows_of(make))
        for name, make in zip(("theirs", "ours"), makers, strict=True)
    ]
    assert files[0] == files[1] and files[0]["rl_prompts.jsonl"]
    compat_row("data-forms", form, seen_in(form), "prompts")


def test_rated_rows_give_the_bytes_of_our_own_form(tmp_path, check, compat_row):
    """HelpSteer has a row for each answer: the pair takes the place of the better one's prompt."""
    theirs = [
        {"prompt": row["prompt"][0]["content"], "response": row[key][0]["content"], "helpfulness": score}
        for row in rows_of(own_pair) for key, score in (("chosen", 4), ("rejected", 1))
    ]  # fmt: skip
    ours = [{**row, "id": f"preferences-preferences-{2 * i + 1}"} for i, row in enumerate(rows_of(own_pair))]
    demonstrations = rows_of(own_demonstration)
    files = [
        prepared(tmp_path / name, check, demonstrations=demonstrations, prompts=demonstrations, preferences=rows)
        for name, rows in (("theirs", theirs), ("ours", ours))
    ]
    assert files[0] == files[1] and files[0]["preferences.jsonl"]
    compat_row("data-forms", "helpsteer", seen_in("helpsteer"), "comparisons: answers to one prompt, by their rating")


@pytest.mark.parametrize("form", REFUSED)
def test_forms_that_are_refused_by_name(form, tmp_path, check, compat_row):
    with pytest.raises(DataError) as refused:
        prepared(tmp_path / "theirs", check, demonstrations=[REFUSED[form]])
    why = str(refused.value).split("row 1: ")[1].split("; ")[0]
    compat_row("data-forms", form, seen_in(form), f"refused: {why}")


def test_every_form_of_the_registry_is_in_the_table():
    tried = {REGISTERED.get(name, name) for name in (*PAIRS, *DEMONSTRATIONS, *PROMPTS, *REFUSED, "helpsteer")}
    assert {form.name for form in FORMS} <= tried


# --- the whole graph ---


def project(folder: Path, make) -> Path:
    """Our graph on preferences alone, of which every kind of rows is read, as in infra/params/hh-rlhf.yaml."""
    params = shrunk(yaml.safe_load((ROOT / "infra" / "params" / "hh-rlhf.yaml").read_text()))
    params["data"] |= {"demonstrations": "rows.jsonl", "preferences": "rows.jsonl", "bad_rows": "refuse"}
    params["data"]["splits"] |= {"sft": 0.2, "select": 0.15, "gate": 0.2, "gold": 0.2}
    params["gold"]["training"] |= {"epochs": 1.0, "batch_size": 8}
    write_project(folder, params)
    make_qwen2(folder / "base")
    (folder / "data").mkdir(exist_ok=True)
    rows = [make(*(text.format(i=i) for text in (Q, GOOD, BAD))) for i in range(160)]
    (folder / "data" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(folder: Path, stages: list[str], monkeypatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLUMB_STATE", str(folder / "state"))
    for stage in stages:
        runner.run_stage(stage)


def made(folder: Path, *places: str) -> dict[str, bytes]:
    files = [path for place in places for path in (folder / "artifacts" / place).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.compat
@pytest.mark.parametrize("form", ["pairs", "hh, prompt apart"], ids=["ultrafeedback", "hh"])
def test_a_run_on_an_outside_form_makes_the_same_comparisons(form, tmp_path, monkeypatch):
    theirs, ours = (project(tmp_path / name, make) for name, make in zip(("theirs", "ours"), PAIRS[form], strict=True))
    run(theirs, stage_names(load_pipeline(theirs / "dvc.yaml")), monkeypatch)
    run(ours, ["prepare", "sft", "generate", "compare"], monkeypatch)
    assert made(theirs, "data", "compare") == made(ours, "data", "compare")
    rows = made(theirs, "compare")["artifacts/compare/train.jsonl"].decode().splitlines()
    assert len(rows) > 10 and json.loads(rows[0])["source"] == "given"
    assert json.loads((theirs / "metrics" / "gate.json").read_text())["verdict"]
    assert (theirs / "artifacts" / "report").is_dir()
