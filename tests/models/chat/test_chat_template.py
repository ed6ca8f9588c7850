"""Chat templates and tokenizers: where prompt and answer part, what ends a turn, and what is refused."""

import ast
import io
import json
from datetime import date
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import AddedToken, normalizers
from transformers import AutoTokenizer

from models.chat import template as chat_template
from models.chat.control_tokens import control_marks, holds_mark
from models.chat.rendering import TemplateRefusal
from models.chat.template import decode_response, encode_example, encode_prompt, end_of_turn, example, load_tokenizer
from models.chat.turn import with_date
from models.judges.hf import HfJudge
from models.lm import loading
from tasks import sft as sft_stage
from tasks.config.package import PackageConfig
from tasks.config.shared import RuntimeConfig, ServingConfig
from tasks.package import package
from tests.compat.chat_families import BYTES, FAMILIES, Family, make_tokenizer
from tests.support.tiny_models import QWEN_TEMPLATE, TEXT, adapted, make_gpt2, make_qwen2

BY_NAME = {family.name: family for family in FAMILIES}
USER = {"role": "user", "content": "What is two plus three?"}
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {"type": "object"}}}
CALL = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"x": 2}}}]}


def answer(text, **more):
    return {"role": "assistant", "content": text, **more}


@pytest.fixture
def family(tmp_path):
    """`family(name)`: the tokenizer of one of the field's families, as it is loaded."""
    return lambda name: load_tokenizer(make_tokenizer(BY_NAME[name], tmp_path / name), "2026-03-05")


def with_template(tmp_path, template, special=("<|im_start|>", "<|im_end|>")):
    """A byte-level tokenizer with another template, not loaded yet."""
    return make_tokenizer(Family("own", template, BYTES, "<|endoftext|>", "", special), tmp_path / "own")


# --- where prompt and response part ---


def test_a_token_that_straddles_prompt_and_answer_is_split_and_counted(tmp_path):
    """GPT-2's form ends its prompt in a blank, and its tokenizer has ' It' as one token."""
    tokenizer = load_tokenizer(make_gpt2(tmp_path))
    turns = [USER, answer("It is five.")]
    prompt_ids, response_ids, apart = example(tokenizer, turns)
    whole = tokenizer.apply_chat_template(turns, return_dict=False)
    assert apart and whole[: len(prompt_ids)] != prompt_ids
    assert prompt_ids == encode_prompt(tokenizer, [USER])
    assert tokenizer.decode(response_ids) == "It is five.<|endoftext|>"
    encoded = sft_stage.examples([{"messages": turns}, {"messages": [USER, answer("\nfive")]}], tokenizer)
    state = type("State", (), {"log_history": [{"loss": 1.0}], "global_step": 1})
    rows = [{"category": "reasoning"}] * 2
    counted = sft_stage.metrics(rows, encoded, state)["rows_split_inside_a_token"]
    assert counted == sum(one.apart for one in encoded) >= 1


def test_one_blank_before_the_first_word_is_no_indentation(family):
    tokenizer = family("ChatML on a base")
    for text, kept in ((" Yes.", "Yes."), ("  Yes.", "  Yes."), ("\nYes. ", "\nYes. "), (" ", ""), ("", "")):
        response = encode_example(tokenizer, [USER, answer(text)])[1]
        assert decode_response(tokenizer, response) == kept
        assert tokenizer.decode(response) == f"{text}<|im_end|>"  # what is trained on is what was given


def test_a_judges_letters_are_tokens_of_answers(family):
    """After a line break, SentencePiece has 'A' and not '▁', 'A'; Mistral's answers begin with a blank."""
    for name, lead in (("Zephyr, TinyLlama", []), ("Mistral v1", ["▁"]), ("ChatML on a base", [])):
        judge = HfJudge("local", None, family(name), {"honesty": 1.0})
        tokens = judge.tokenizer.convert_ids_to_tokens
        assert (tokens(judge._lead), tokens(judge._letters)) == (lead, ["A", "B"])


# --- ends ---


def test_stages_and_package_keep_every_end_that_the_base_had_learnt(tmp_path):
    """Of the base's list [<|im_end|>, <|endoftext|>, 7]; a chain of adapters has no generation config to keep it in."""
    base = make_qwen2(tmp_path / "base")
    file = base / "generation_config.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({**known, "eos_token_id": [known["eos_token_id"], 0, 7]}))
    tokenizer, expected = load_tokenizer(base), {known["eos_token_id"], 0, 7}
    for start, out in ((base, tmp_path / "sft"), (tmp_path / "sft", tmp_path / "dpo")):
        policy = adapted(loading.load_policy(start, base), seed=1)
        loading.save_policy(policy, load_tokenizer(start), out, base=base, start=start)
        assert chat_template.stop_ids(load_tokenizer(out)) == expected == chat_template.stop_ids(tokenizer)
    (tmp_path / "select").mkdir()
    (tmp_path / "select/selection.json").write_text(json.dumps({"method": "dpo", "checkpoint": "final"}))
    runtime = RuntimeConfig(seed=0, threads=1, dtype="float32", date="2026-03-05")
    serving = ServingConfig(temperature=0.7, max_new_tokens=8, rows_per_batch=4)
    cfg = PackageConfig(runtime=runtime, serving=serving)
    package(cfg, base, {"dpo": tmp_path / "dpo"}, tmp_path / "select", tmp_path / "out")
    served = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert set(served["eos_token_id"]) == expected


def test_a_tokenizer_that_needs_nothing_is_handed_on_as_the_library_does(tmp_path):
    base = make_qwen2(tmp_path / "base")
    for name, tokenizer in (("ours", load_tokenizer(base)), ("theirs", AutoTokenizer.from_pretrained(base))):
        tokenizer.save_pretrained(tmp_path / name)
    for file in (tmp_path / "ours").iterdir():
        assert file.read_bytes() == (tmp_path / "theirs" / file.name).read_bytes()


# --- answers that are more than a text ---


def test_a_call_of_a_tool_is_trained_as_the_template_writes_it(family):
    tokenizer = family("Qwen 2.5")
    turns = [USER, {**CALL, "content": "Let me add."}]
    prompt_ids, response_ids = encode_example(tokenizer, turns, [TOOL])
    assert prompt_ids == encode_prompt(tokenizer, [USER], [TOOL]) != encode_prompt(tokenizer, [USER])
    whole = tokenizer.apply_chat_template(turns, tools=[TOOL], return_dict=False)
    assert prompt_ids + response_ids == whole[:-1]  # without the line break after the end
    written = '{"name": "add", "arguments": {"x": 2}}'
    assert tokenizer.decode(response_ids) == f"Let me add.\n<tool_call>\n{written}\n</tool_call><|im_end|>"
    assert tokenizer.convert_tokens_to_ids("<tool_call>") in response_ids
    cut = encode_example(tokenizer, turns, [TOOL], ended=False)[1]
    assert cut == response_ids[:-1]


@pytest.mark.parametrize("name, message", [
    ("gpt-oss", CALL),
    ("Qwen 3", answer("Five.", reasoning_content="Two and three.")),
    ("Qwen 3 Thinking", answer("Five.", reasoning_content="Two and three.")),
])
def test_an_answer_that_does_not_follow_the_prompt_is_refused(family, name, message):
    with pytest.raises(ValueError, match="otherwise than after its own generation prompt.*drop the row"):
        encode_example(family(name), [USER, message])


def test_an_answer_with_a_think_tag_is_not_taken_apart(family):
    """Qwen's template splits at </think>; a sampled answer that holds one is trained as it was sampled."""
    tokenizer = family("Qwen 3")
    prompt_ids, response_ids = encode_example(tokenizer, [USER, answer("so</think>five")])
    assert prompt_ids == encode_prompt(tokenizer, [USER])
    assert decode_response(tokenizer, response_ids) == "so</think>five"
    assert tokenizer.convert_tokens_to_ids("</think>") in response_ids


# --- text stays text ---


def control_ids(tokenizer, ids):
    return [token for token in ids if token in tokenizer.added_tokens_decoder]


@pytest.mark.parametrize("parts", [("<|im_", "end|>"), ("x<", "|im_end|>\n"), ("<|im_start|", ">")])
def test_parts_of_a_message_do_not_join_into_a_control_token(tmp_path, parts):
    template = QWEN_TEMPLATE.replace("{{ m['content'] }}", "{% for p in m['content'] %}{{ p.text | trim }}{% endfor %}")
    template = "{% if messages[0].content is string %}" + QWEN_TEMPLATE + "{% else %}" + template + "{% endif %}"
    tokenizer = load_tokenizer(with_template(tmp_path, template))
    told = [{"role": "user", "content": [{"type": "text", "text": part} for part in parts]}]
    clean = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    ids = encode_prompt(tokenizer, told)
    assert control_ids(tokenizer, ids) == control_ids(tokenizer, encode_prompt(tokenizer, clean))
    assert "".join(part.strip() for part in parts) in tokenizer.decode(ids)


def test_a_text_does_not_join_with_what_the_template_writes_around_it(tmp_path):
    template = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    tokenizer = load_tokenizer(with_template(tmp_path, template, ("<system>",)))
    ids = encode_prompt(tokenizer, [{"role": "user", "content": "system"}])
    assert not control_ids(tokenizer, ids) and tokenizer.decode(ids) == "<system><"  # "<" begins every answer as well


def test_calls_results_and_tools_hold_no_control_tokens(family):
    tokenizer, mark = family("Qwen 2.5"), "</tool_response><|im_end|>"

    def turns(text):
        called = {**CALL, "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"x": text}}}]}
        return [USER, called, {"role": "tool", "content": text}], [{**TOOL, "description": text}]

    clean, dirty = (encode_prompt(tokenizer, *turns(text)) for text in ("x", mark))
    special = set(tokenizer.all_special_ids)
    assert [i for i in dirty if i in special] == [i for i in clean if i in special]
    result = tokenizer.convert_tokens_to_ids("</tool_response>")
    assert dirty.count(result) == clean.count(result) == 1
    with pytest.raises(ValueError, match="field name '<|im_end|>' holds a control token; give the field another name"):
        encode_prompt(tokenizer, [USER], [{**TOOL, "<|im_end|>": 1}])


def test_what_cannot_be_kept_as_text_is_refused(tmp_path):
    """A control token that is a character of the vocabulary as well."""
    path = with_template(tmp_path, QWEN_TEMPLATE)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens([AddedToken("~", special=True)], special_tokens=True)
    tokenizer.save_pretrained(path)
    with pytest.raises(ValueError, match="holds the control token '~', which cannot be kept as text; take it out"):
        encode_prompt(load_tokenizer(path), [{"role": "user", "content": "about ~5"}])


SPM_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}


@pytest.fixture(params=[("bpe", "LlamaTokenizer", {}), ("unigram", "T5Tokenizer", T5_IDS)], ids=lambda kind: kind[0])
def spm_only(request, tmp_path):
    """A folder whose tokenizer is a SentencePiece model alone, as Llama's was, and the library's own reading of it."""
    (kind, name, ids), model = request.param, io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 20), model_writer=model, vocab_size=380, model_type=kind, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2, **ids,
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": name, "eos_token": "</s>", "unk_token": "<unk>", "chat_template": SPM_TEMPLATE,
    }))
    return tmp_path, sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_a_tokenizer_that_is_a_sentencepiece_model_alone_is_read(spm_only, tmp_path):
    path, theirs = spm_only
    tokenizer = load_tokenizer(path)
    assert tokenizer("What is two?", add_special_tokens=False)["input_ids"] == theirs.encode("What is two?")
    prompt_ids, response_ids = encode_example(tokenizer, [{"role": "user", "content": "Hi</s> you"}, answer("Yes.")])
    assert prompt_ids.count(tokenizer.eos_token_id) == 1 and response_ids.count(tokenizer.eos_token_id) == 1
    assert decode_response(tokenizer, response_ids) == "Yes."
    tokenizer.save_pretrained(tmp_path / "stage")
    assert (tmp_path / "stage/tokenizer.json").is_file()


def test_a_text_that_a_normalizer_makes_a_control_token_of_is_refused(tmp_path):
    """Full-width brackets are folded into plain ones before tokens that are looked for in normalised text."""
    path = with_template(tmp_path, QWEN_TEMPLATE)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_tokens([AddedToken("<turn>", special=True, normalized=True)], special_tokens=True)
    tokenizer.save_pretrained(path)
    with pytest.raises(ValueError, match="makes the control token '<turn>' of a text that only resembles it"):
        encode_prompt(load_tokenizer(path), [{"role": "user", "content": "\uff1cturn\uff1e"}])


def test_control_marks_are_read_without_a_tokenizer(tmp_path):
    """What intake counts is what the encoder keeps as text; also with the tokens in tokenizer_config.json alone."""
    for name in ("Qwen 3", "Phi 3", "Command R, several templates", "Mistral v3", "gpt-oss"):
        path = make_tokenizer(BY_NAME[name], tmp_path / name)
        chat = chat_template.chat_of(load_tokenizer(path))
        assert control_marks(path) == chat.all.tokens
    assert control_marks(tmp_path / "nowhere") == frozenset()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": {"content": "</s>"}, "additional_special_tokens": ["<x>"], "chat_template": "<turn>{{ messages }}",
        "added_tokens_decoder": {"3": {"content": "<turn>", "special": False}, "4": {"content": "<b>"}},
    }))
    assert control_marks(tmp_path) == {"</s>", "<x>", "<turn>"}
    row = {"id": "a", "messages": [{"role": "user", "content": "hi</s>"}]}
    assert holds_mark(row, {"</s>"}) and not holds_mark(row, {"<x>"}) and not holds_mark(row, frozenset())


# --- the date ---


@pytest.mark.parametrize("form", ["%d %b %Y", "%-d. %B %y", "%Y-%m-%dT%H:%M", "%A, %j of %Y", "no date"])
def test_a_template_is_told_the_runs_date_in_its_own_form(tmp_path, form):
    template = "{% if strftime_now is defined %}{{ strftime_now('" + form + "') }}{% endif %}" + QWEN_TEMPLATE
    tokenizer = load_tokenizer(with_template(tmp_path, template), "2024-02-29")
    written = tokenizer.decode(encode_prompt(tokenizer, [USER])).partition("<|im_start|>")[0]
    assert written == date(2024, 2, 29).strftime(form)
    assert tokenizer.chat_template == template  # the package tells the date by itself
    assert with_date(template, None) == template


def test_every_stage_gives_the_runs_date():
    """What loads a tokenizer and renders with it says which day it is.

    A package, a chat and a base made from GGUF are of the day itself; what judges across a network cost does not
    depend on it.
    """
    others = ("package.py", "chat.py", "judge_costs.py", "gguf_base.py")
    calls = [
        (file.name, node)
        for file in sorted(Path(sft_stage.__file__).parent.glob("*.py")) if file.name not in others
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("load_tokenizer", "make_pool", "make_judge")
    ]
    assert len(calls) > 10
    undated = [name for name, call in calls if "date" not in ast.unparse(call)]
    assert undated == []


# --- what is refused when it is loaded ---


@pytest.mark.parametrize("template, words", [
    ("{% for m in messages %}{{ m.content }}", "is no Jinja .line 1: Unexpected end of template"),
    ("{{ messages[-1].content | nofilter }}", "is no Jinja .line 1: No filter named 'nofilter'"),
    ("{{ raise_exception('only system turns') }}", "cannot render a question and its answer: only system turns"),
    ("{{ messages[0].content + 1 }}", "cannot render a question and its answer"),
    ("Hello", "leaves out what a user says"),
    ("{{ messages[0].content }}", "leaves out what an assistant says"),
    ({"rag": QWEN_TEMPLATE, "tools": QWEN_TEMPLATE}, "several chat templates, rag, tools, and none is named default"),
])
def test_a_template_that_cannot_be_used_is_refused_when_it_is_loaded(tmp_path, template, words):
    path = with_template(tmp_path, template)
    with pytest.raises(ValueError, match=words) as error:
        load_tokenizer(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_row_that_the_template_refuses_is_refused_in_one_line(family):
    with pytest.raises(TemplateRefusal, match=r"refuses the conversation \(roles must alternate.*\); change the row"):
        encode_prompt(family("Gemma 2"), [{"role": "system", "content": "Be kind."}, USER])


def test_a_template_in_tokenizer_config_and_named_ones_are_read(tmp_path):
    """Older repositories keep templates, one or a list of named ones, in tokenizer_config.json."""
    for inside in (QWEN_TEMPLATE, [{"name": "default", "template": QWEN_TEMPLATE}, {"name": "rag", "template": "x"}]):
        path = with_template(tmp_path, QWEN_TEMPLATE)
        (path / "chat_template.jinja").unlink()
        file = path / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": inside}))
        tokenizer = load_tokenizer(path)
        assert tokenizer.decode(encode_prompt(tokenizer, [USER])).endswith("<|im_start|>assistant\n")
        assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == "<|im_end|>"
        assert control_marks(path) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
