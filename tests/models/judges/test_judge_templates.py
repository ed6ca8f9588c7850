"""Templates as data: a user's file by its hash, what it must hold, and what it changes."""

from hashlib import sha256

import pytest
import yaml

from models.judges.asking import Asker
from models.judges.base import Question
from models.judges.hf import HfJudge
from models.judges.openai import OpenAIJudge
from models.judges.store import question_key
from models.judges.template_fields import check_template
from models.judges.templates import BUILT_IN, CRITERIA, Template, messages
from models.lm.loading import weights_hash
from tasks import judge as card_stage
from tasks.common.errors import ConfigError
from tasks.config.judges import OURS
from tasks.gold import gold
from tasks.judging.making import make_judge
from tasks.judging.templates import check_templates, template_of, with_template
from tasks.reporting import judge_card as words
from tasks.scoring.scorer import load_gold
from tests.support.anchor_pairs import ask as ask_anchors
from tests.support.compare_stage import run, server  # noqa: F401
from tests.support.endpoints import ENDPOINT  # noqa: F401
from tests.support.evaluation_rows import config, prompt
from tests.support.judge_questions import folder, obeys_what_is_not_fenced, wins_of_the_hostile  # noqa: F401
from tests.support.judge_server import JudgeServer

STRICT = {
    "pair_system": "Be strict.\n{rule}\n{criteria}",
    "pair_user": "{conversation}\n{first}\n{second}\nJSON with {keys}, like {example}:",
    "rate_system": "Be strict.\n{rule}\n{criteria}",
    "rate_user": "{conversation}\n{first}\nJSON with {keys}:",
    "criteria": {"brevity": "says it in few words", "helpfulness": "helps"},
}


def written(tmp_path, content, name="strict.yaml"):
    """The two keys of a judge that name a template file with this content."""
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (tmp_path / name).write_text(text, encoding="utf-8")
    return {"template": str(tmp_path / name), "template_sha256": sha256(text.encode()).hexdigest()}


def judged(tmp_path, content=None, **changes):
    """An endpoint's settings, told what a file with this content says."""
    return {**ENDPOINT, "rates": False, **written(tmp_path, STRICT if content is None else content), **changes}


# --- what a template must hold ---


def without(text, field):
    return {**STRICT, text: STRICT[text].replace(f"{{{field}}}", "")}


@pytest.mark.parametrize(("text", "field"), [
    ("pair_system", "rule"), ("rate_system", "rule"), ("pair_user", "conversation"), ("rate_user", "conversation"),
    ("pair_user", "first"), ("rate_user", "first"), ("pair_user", "second"), ("pair_user", "keys"),
    ("rate_user", "keys"), ("pair_system", "criteria"), ("rate_system", "criteria"),
])
def test_a_field_that_is_left_out_is_named_with_its_text(tmp_path, text, field):
    with pytest.raises(ValueError, match=r"judge 'remote': its template .*strict.yaml: ") as error:
        template_of(judged(tmp_path, without(text, field)))
    said = str(error.value)
    assert text in said and said.endswith(f": the field {{{field}}} is missing; put it in") and "\n" not in said


@pytest.mark.parametrize(("text", "more", "named"), [
    ("pair_user", "{winner}", "{winner}"), ("rate_user", "{second}", "{second}"), ("pair_system", "{first}", "{first}"),
    ("pair_user", "{rule}", "{rule}"), ("pair_user", "{}", "{}"), ("pair_user", "{first!r}", "{first!r}"),
    ("pair_user", "{first:.20}", "{first:.20}"), ("pair_user", "{first.upper}", "{first.upper}"),
    ("pair_user", "{first[0]}", "{first[0]}"),
])
def test_a_field_that_nothing_fills_or_that_is_cut_is_named(tmp_path, text, more, named):
    with pytest.raises(ValueError, match="strict.yaml: .*has the unknown field") as error:
        template_of(judged(tmp_path, {**STRICT, text: f"{STRICT[text]}\n{more}"}))
    assert f"{text} has the unknown field {named}; it may hold" in str(error.value) and "\n" not in str(error.value)


def test_a_text_stands_on_its_own_lines_and_braces_are_doubled(tmp_path):
    beside = {**STRICT, "pair_user": STRICT["pair_user"].replace("{first}", "Answer one: {first}")}
    with pytest.raises(ValueError, match="pair_user has {first} beside other words; put it on a line of its own"):
        template_of(judged(tmp_path, beside))
    for changed, said in (
        (("{second}", "{second} or {keys}"), "has {second} beside other words"),
        (("{second}", "{second}\n{first}"), "has {first} 2 times; each text stands there once"),
        (("{first}", "?"), "the field {first} is missing"),
    ):
        with pytest.raises(ValueError, match=said):
            template_of(judged(tmp_path, {**STRICT, "pair_user": STRICT["pair_user"].replace(*changed)}))
    turned = STRICT["pair_user"].replace("{first}", "?").replace("{second}", "{first}").replace("?", "{second}")
    with pytest.raises(ValueError, match="shows {second} before {first}; put candidate A's answer first"):
        template_of(judged(tmp_path, {**STRICT, "pair_user": turned}))
    assert template_of(judged(tmp_path, {**STRICT, "pair_user": STRICT["pair_user"] + "\nNot {{first}}."}))
    with pytest.raises(ValueError, match="pair_user cannot be read .*; write {{ and }} for other"):
        template_of(judged(tmp_path, {**STRICT, "pair_user": STRICT["pair_user"] + "{"}))
    braces = template_of(judged(tmp_path, {**STRICT, "pair_system": STRICT["pair_system"] + '\nLike {{"a": 1}}.'}))
    told = messages(Question(prompt(0), "x", "y"), ["brevity"], braces)
    assert told[0]["content"].endswith('\nLike {"a": 1}.') and "- brevity: says it in few words" in told[0]["content"]


def test_a_letter_needs_no_keys_and_no_example(tmp_path):
    """A local model answers with one token; what ours leave out, a user's may."""
    for kind, template in BUILT_IN.items():
        check_template(template, kind, kind)
    with pytest.raises(ValueError, match="the field {keys} is missing"):
        check_template(BUILT_IN["hf"], "openai", "x")
    with pytest.raises(ValueError, match="pair_system has the unknown field {example}"):
        check_template(BUILT_IN["openai"], "hf", "x")


def test_no_judge_can_be_made_with_a_template_that_lets_texts_out(folder):  # noqa: F811
    """Whatever made the template: the judges themselves refuse it."""
    bare = Template("{criteria}", "{conversation}\n{first}\n{second}\n{keys}", "{rule}{criteria}", "{first}")
    with pytest.raises(ValueError, match="judge 'j': pair_system: the field {rule} is missing"):
        OpenAIJudge("j", "m", {"honesty": 1.0}, template=bare)
    with pytest.raises(ValueError, match="judge 'j': pair_system: the field {rule} is missing"):
        HfJudge.load("j", folder, {"honesty": 1.0}, template=bare)


# --- the file ---


@pytest.mark.parametrize(("content", "message"), [
    ("", "must be a mapping that holds some of pair_system"),
    ("- a", "must be a mapping that holds some of pair_system"),
    ("a: [", "is not valid YAML: line 1"),
    ("pair_system: a\npair_system: b", "the key 'pair_system' stands there twice"),
    ({"pair_sistem": "x"}, "has the unknown key 'pair_sistem'; known are pair_system, pair_user"),
    ({"pair_system": 3}, "pair_system must be a text, found int"),
    ({"criteria": ["a"]}, "criteria must be names with a text each, found list"),
    ({"criteria": {"Good Taste": "x"}}, "criterion 'Good Taste' must be named in small letters"),
    ({"criteria": {"taste": " "}}, "criterion taste must say in words what is judged, found ' '"),
])
def test_what_is_no_template_is_one_line(tmp_path, content, message):
    with pytest.raises(ConfigError) as error:
        template_of(judged(tmp_path, content))
    assert message in str(error.value) and "judge 'remote': its template" in str(error.value)
    assert "strict.yaml" in str(error.value) and "\n" not in str(error.value)


def test_whichever_judge_is_named_its_template_is_checked_before_anything_runs(tmp_path):
    good = {**judged(tmp_path), "template": "strict.yaml"}
    check_templates({"compare": {"judges": [good, {"kind": "oracle"}]}, "gold": {"judge": None}}, tmp_path)
    check_templates({"sft": {}}, tmp_path)
    for params in ({"compare": {"judges": [{**good, "template": "gone.yaml"}]}},
                   {"compare": {"judges": [good]}, "gold": {"judge": {**good, "template": "gone.yaml"}}}):  # fmt: skip
        with pytest.raises(ConfigError, match="judge 'remote': its template .*gone.yaml does not exist"):
            check_templates(params, tmp_path)
    (unstated := dict(good)).pop("template_sha256")
    with pytest.raises(ConfigError, match="params.yaml says null"):
        check_templates({"compare": {"judges": [unstated]}}, tmp_path)


def test_the_hash_must_stand_in_params(tmp_path):
    """None stated, or another's: the line has the one to set, and with it the judge is made."""
    spec = judged(tmp_path)
    for stated, said in ((None, "null"), ("0" * 64, "0" * 64)):
        way_out = f"sha256 {spec['template_sha256']}, params.yaml says {said}; set the judge's template_sha256 to"
        with pytest.raises(ConfigError, match=way_out):
            template_of({**spec, "template_sha256": stated})
    assert template_of(spec).pair_system == STRICT["pair_system"]
    with pytest.raises(ConfigError, match="gone.yaml does not exist; correct template in params.yaml, or set it to built"):
        template_of({**spec, "template": str(tmp_path / "gone.yaml")})
    (tmp_path / "strict.yaml").write_bytes("ü".encode("latin-1"))
    latin = sha256(b"\xfc").hexdigest()
    with pytest.raises(ConfigError, match="is not UTF-8 .*; save it as UTF-8"):
        template_of({**spec, "template_sha256": latin})


def test_what_a_file_leaves_out_is_as_in_ours(tmp_path):
    own = template_of(judged(tmp_path, {"criteria": {"honesty": "never lies"}}))
    ours = BUILT_IN["openai"]
    assert own.pair_user == ours.pair_user and own.criteria == {**CRITERIA, "honesty": "never lies"}
    assert own.sha256 != ours.sha256 and template_of({**ENDPOINT, "template": OURS}) is ours
    assert with_template({"kind": "oracle", "name": "o"}) == {"kind": "oracle", "name": "o"}


def test_criteria_that_a_template_lacks_are_named(tmp_path):
    with pytest.raises(ValueError, match="strict.yaml: unknown criteria taste; known are overall, .*, brevity"):
        template_of(judged(tmp_path, weights={"taste": 1.0}))


def test_another_template_is_another_judge_and_a_comment_is_none(tmp_path):
    """The key of every answer holds what is told; a comment makes another file, and tells nothing."""
    question = Question(prompt(0), "a", "b")

    def key(content, name):
        judge = make_judge(with_template({**ENDPOINT, **written(tmp_path, content, name)}))
        return question_key(judge.description, question)

    text = yaml.safe_dump(STRICT)
    reworded = {**STRICT, "criteria": {**STRICT["criteria"], "helpfulness": "helps much"}}
    strict, commented, other = key(text, "a.yaml"), key(f"# ours\n{text}", "b.yaml"), key(reworded, "c.yaml")
    ours = question_key(make_judge(ENDPOINT).description, question)
    assert strict == commented and len({strict, other, ours}) == 3
    built_in = with_template({**ENDPOINT, "template": OURS, "template_sha256": None})
    assert question_key(make_judge(built_in).description, question) == ours


@pytest.mark.parametrize(("changes", "message"), [
    ({"template": ""}, "compare.judges.0.template"),
    ({"template_sha256": "0"}, "template_sha256 is for a file; set it to null with template built-in"),
    ({"weights": {"taste": 1.0}}, "weights has the unknown criterion 'taste'; known are overall, .*: correct it, or"),
    ({"weights": {"Taste": 1.0}}, "compare.judges.0.weights.Taste"),
    ({"template": "x.yaml", "weights": {"kl": 1.0}}, "criterion 'kl', a name that other numbers have; give it"),
])
def test_params_that_do_not_fit_together(changes, message):
    with pytest.raises(ConfigError, match=message):
        config("compare", judges=[{**ENDPOINT, **changes}])


# --- at work ---


def test_a_template_of_ones_own_keeps_the_hostile_from_winning(tmp_path, monkeypatch):
    template = template_of(judged(tmp_path))
    with JudgeServer(obeys_what_is_not_fenced) as hostile:
        assert wins_of_the_hostile(hostile, monkeypatch, template=template, key_variable=None) == [False] * 20


def test_comparisons_and_card_by_a_template_with_a_criterion_of_its_own(run, server, tmp_path):  # noqa: F811
    """120 pairs; another word in the file asks all 240 questions again, and the first file finds its answers."""
    said = []
    rule = server.rule
    server.rule = lambda body: said.append(body["messages"]) or rule(body)
    judge = judged(tmp_path, weights={"brevity": 3.0, "helpfulness": 1.0})
    metrics, files = run(judges=[judge])
    assert metrics["pairs"] == 120 and metrics["invalid_rate"] == 0.0 and len(server.calls) == 240
    assert all(system["content"].startswith("Be strict.\nWhatever stands between") for system, _ in said)
    assert "- brevity: says it in few words\n- helpfulness: helps" in said[0][0]["content"]
    asked = said[0][1]["content"]
    assert asked.startswith("<<<BEGIN conversation ") and "JSON with brevity, helpfulness, like {" in asked
    assert all(row["verdicts"][0]["raw"][0] == '{"brevity": "A", "helpfulness": "A"}' for row in files["train"])
    other = {**STRICT, "pair_system": "Be very strict.\n{rule}\n{criteria}"}
    run(judges=[judged(tmp_path, other, weights=judge["weights"])])
    assert len(server.calls) == 480
    judged(tmp_path)
    assert run(judges=[judge])[0] == metrics and len(server.calls) == 480
    rater = {**judge, "name": "b", "model": "other", "rates": True}
    gold(config("gold", kind="judge", judge=rater), tmp_path, tmp_path / "none", tmp_path / "gold", tmp_path)
    files = (tmp_path, tmp_path / "in", tmp_path / "out", tmp_path / "prompts.jsonl", tmp_path / "gold")
    card = card_stage.judge(config("judge"), *files, tmp_path / "card")
    assert load_gold(tmp_path / "gold", tmp_path).axes == ("brevity", "helpfulness")
    all_told = make_judge(with_template(judge)).description["template"]
    file = {"template": judge["template"], "file_sha256": judge["template_sha256"], "sha256": all_told}
    assert card["templates"] == [{"judge": "remote", **file}] and card["reference_template"] == {"judge": "b", **file}
    head, rows = words.templates_table(card)
    assert rows == [[name, judge["template"], judge["template_sha256"][:16], all_told[:16]]
                    for name in ("remote", "b (gold)")]
    assert judge["template_sha256"][:16] in words.as_markdown(card, metrics)


def test_a_gold_judges_template_is_checked_before_anything_is_trained(tmp_path):
    judge = {**judged(tmp_path), "rates": True, "template_sha256": None}
    with pytest.raises(ConfigError, match="set the judge's template_sha256 to the one found"):
        gold(config("gold", kind="judge", judge=judge), tmp_path, tmp_path / "none", tmp_path / "gold", tmp_path)
    assert not (tmp_path / "gold" / "gold.json").exists()


def test_anchors_of_another_template_have_a_baseline_of_their_own(tmp_path, server):  # noqa: F811
    recorded = [ask_anchors(tmp_path, judge)["judges"]["remote"]["baseline"] == "recorded now"
                for judge in (ENDPOINT, judged(tmp_path), judged(tmp_path))]
    assert recorded == [True, True, False]


def test_a_local_model_is_told_by_a_file_too(tmp_path, folder):  # noqa: F811
    """Other words, another next token; the preference stays one of its own letters."""
    texts = {"pair_user": "{conversation}\n{first}\n{second}\nOne letter for {keys}:"}
    spec = {"name": "local", "kind": "hf", "path": str(folder), "sha256": weights_hash(folder),
            "weights": {"honesty": 1.0}}
    ours, own = (make_judge(with_template({**spec, **keys}))
                 for keys in ({"template": OURS, "template_sha256": None}, written(tmp_path, texts)))
    question = Question(prompt(0), "Yes.", "No, not today.")
    first, second = (Asker().ask([(judge, question)])[0] for judge in (ours, own))
    assert first.valid and second.valid and first.p_first != second.p_first
    assert ours.description["template"] == BUILT_IN["hf"].sha256 != own.description["template"]
    with pytest.raises(ValueError, match="pair_user has the unknown field {example}"):
        template_of({**spec, **written(tmp_path, {"pair_user": texts["pair_user"] + " {example}"})})
