"""Every row is asked of the base's chat template before anything is trained; templates in words of our own."""

import pytest
from tokenizers import AddedToken

from tasks.common.errors import DataError
from tasks.data.rendering import check_row
from tasks.data.values import BadRow
from tasks.prepare import prepare, survey
from tests.support.prepare_rows import config, data, prompts, write  # noqa: F401
from tests.support.tiny_models import QWEN_TEMPLATE, tokenizer_with

USER, ANSWER = {"role": "user", "content": "17 times 3?"}, {"role": "assistant", "content": "It is 51."}
SYSTEM = {"role": "system", "content": "Be kind."}
CALL = [{"type": "function", "function": {"name": "times", "arguments": {"a": 17, "b": 3}}}]
CALLING = {"role": "assistant", "content": "", "tool_calls": CALL}
RESULT = {"role": "tool", "name": "times", "content": "51"}
TOOLS = [{"type": "function", "function": {"name": "times", "parameters": {}}}]

# As Gemma and early Mistral: no system, strictly in turns.
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "[{{ m.role }}]{{ m.content | trim }}[end]{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
# As Qwen 2.5 and Hermes: tools and calls are written.
WITH_TOOLS = (
    "{% if tools %}[tools]{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}{% for m in messages %}"
    "[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] %}[call]{{ c.function | tojson }}{% endfor %}[end]{% endfor %}"
)
# As templates that were made for two roles and pass over all others.
DEAF = (
    "{% for m in messages %}{% if m.role in ('user', 'assistant') %}[{{ m.role }}]{{ m.content }}[end]"
    "{% endif %}{% endfor %}"
)
# As Qwen3 and R1: reasoning before the mark is taken out of earlier turns.
THINKING = "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}[end]{% endfor %}"
# As Qwen3: what stands before the mark is the reasoning, in a block of its own, there also where there is none.
BLOCK = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{% set parts = m.content.split('</think>') %}"
    "<think>{{ parts[0].split('<think>')[-1] if parts | length > 1 }}</think>{{ parts[-1] }}{% else %}{{ m.content }}"
    "{% endif %}[end]{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
JSON = "{% for m in messages %}[{{ m.role }}]{{ m.content | tojson }}[end]{% endfor %}"
REASONED = {**ANSWER, "content": "<think>17 + 34.</think>It is 51."}


def check(template, row):
    check_row(tokenizer_with(template), row)


@pytest.mark.parametrize(("template", "row", "words"), [
    (STRICT, {"prompt": [SYSTEM, USER]}, "the chat template refuses it: System role not supported"),
    (STRICT, {"prompt": [USER, USER]}, "the chat template refuses it: Roles must alternate"),
    (STRICT, {"messages": [USER, USER, ANSWER]}, "Roles must alternate"),
    (STRICT, {"prompt": [SYSTEM, USER], "chosen": [ANSWER], "rejected": [ANSWER]}, "System role not supported"),
    (STRICT, {"messages": [USER, CALLING, RESULT, ANSWER]}, "Roles must alternate|no place for tool_calls"),
    (QWEN_TEMPLATE, {"messages": [USER, CALLING, RESULT, ANSWER]}, "the chat template has no place for tool_calls"),
    (QWEN_TEMPLATE, {"messages": [USER, ANSWER], "tools": TOOLS}, "the chat template has no place for tools"),
    (QWEN_TEMPLATE, {"messages": [{**USER, "images": ["x"]}, ANSWER]}, "the chat template has no place for images"),
    (QWEN_TEMPLATE, {"prompt": [USER], "chosen": [ANSWER], "rejected": [CALLING]}, "has no place for tool_calls"),
    (DEAF, {"prompt": [SYSTEM, USER]}, "the chat template leaves out a system turn"),
    (DEAF, {"messages": [USER, ANSWER, RESULT, ANSWER]}, "the chat template leaves out a tool turn"),
    (THINKING, {"messages": [USER, REASONED]}, "writes the answer otherwise than it stands"),
    (BLOCK, {"messages": [USER, REASONED]}, "writes the answer otherwise than it stands"),
    (BLOCK, {"prompt": [USER], "chosen": [ANSWER], "rejected": [REASONED]}, "writes the answer otherwise"),
    (JSON, {"messages": [USER, {**ANSWER, "content": "So: \n51"}]}, "writes the answer otherwise than it stands"),
])  # fmt: skip
def test_what_a_template_refuses_or_leaves_out_is_a_bad_row(template, row, words):
    with pytest.raises(BadRow, match=words):
        check(template, row)


# As gpt-oss: a call does not follow what an answer follows.
OTHERWISE = (
    "{% for m in messages %}[{{ m.role }}]{% for c in m.tool_calls or [] %}[call]{{ c.function | tojson }}{% endfor %}"
    "{{ '[final]' if m.role == 'assistant' and not m.tool_calls }}{{ m.content }}[end]{% endfor %}"
    "{% if add_generation_prompt %}[assistant][final]{% endif %}"
)


def with_a_token_of_one_sign():
    tokenizer = tokenizer_with(QWEN_TEMPLATE)
    tokenizer.add_tokens([AddedToken("~", special=True)], special_tokens=True)
    return tokenizer


@pytest.mark.parametrize("row", [
    {"prompt": [{**USER, "content": "about ~5"}]},
    {"messages": [USER, {**ANSWER, "content": "about ~5"}]},
    {"prompt": [USER], "chosen": [ANSWER], "rejected": [{**ANSWER, "content": "about ~5"}]},
    {"prompt": [USER], "chosen": [{**ANSWER, "content": "about ~5"}], "rejected": [ANSWER]},
])  # fmt: skip
def test_a_text_that_no_stage_could_encode_is_a_bad_row(row):
    """The reason is kept where nothing can be forgotten, so it quotes nothing."""
    with pytest.raises(BadRow, match="^it cannot be made token ids$") as bad:
        check_row(with_a_token_of_one_sign(), row)
    assert "holds the control token '~', which cannot be kept as text; take it out" in bad.value.full


@pytest.mark.parametrize("row", [
    {"messages": [USER, CALLING], "tools": TOOLS},
    {"prompt": [USER], "chosen": [ANSWER], "rejected": [CALLING], "tools": TOOLS},
    {"prompt": [USER], "chosen": [CALLING], "rejected": [ANSWER], "tools": TOOLS},
])  # fmt: skip
def test_an_answer_that_does_not_follow_the_generation_prompt_is_a_bad_row(row):
    with_tools = OTHERWISE.replace("{% for m", "{% if tools %}[tools]{{ tools | tojson }}{% endif %}{% for m", 1)
    with pytest.raises(BadRow, match="^it cannot be made token ids$") as bad:
        check(with_tools, row)
    assert "otherwise than after its own generation prompt" in bad.value.full


def test_bad_rows_decides_what_becomes_of_a_text_that_no_stage_could_encode(data, tmp_path):  # noqa: F811
    with_a_token_of_one_sign().save_pretrained(tmp_path / "base")
    write(data / "prompts.jsonl", prompts({"prompt": "about ~5", "split": "gate"}))
    with pytest.raises(DataError, match="prompts.jsonl, row 9: it cannot be made token ids: .* to skip$"):
        prepare(config(), data, tmp_path / "base", tmp_path / "out")
    metrics = prepare(config(bad_rows="skip"), data, tmp_path / "base", tmp_path / "out")
    assert metrics["skipped_prompts"] == 1 and metrics["rows_gate"] == 2


@pytest.mark.parametrize(("template", "row"), [
    (STRICT, {"prompt": [USER]}),
    (STRICT, {"prompt": [{**USER, "content": "  17?\n"}], "chosen": [ANSWER], "rejected": [ANSWER]}),
    (QWEN_TEMPLATE, {"messages": [SYSTEM, USER, ANSWER]}),
    (WITH_TOOLS, {"messages": [USER, CALLING, RESULT, ANSWER], "tools": TOOLS}),
    (STRICT, {"messages": [USER, {**ANSWER, "content": "  x = 51\n"}]}),
    (QWEN_TEMPLATE, {"messages": [USER, REASONED]}),
    (BLOCK, {"messages": [USER, REASONED, USER, ANSWER]}),
    (WITH_TOOLS, {"messages": [USER, CALLING], "tools": TOOLS}),
    (THINKING, {"messages": [USER, {**ANSWER, "content": "Hm.</think>Yes."}, USER, ANSWER]}),
])  # fmt: skip
def test_what_a_template_can_say(template, row):
    check(template, row)


def test_one_prompt_of_the_gate_that_the_template_refuses_stops_prepare(data, tmp_path):  # noqa: F811
    """Not SFT, and not the gate after the whole graph; `bad_rows` says what becomes of it."""
    tokenizer_with(STRICT).save_pretrained(tmp_path / "base")
    write(data / "prompts.jsonl", prompts({"system": "Be kind.", "prompt": "gate 3", "split": "gate"}))
    words = r"prompts.jsonl, row 9: the chat template refuses it: System role not supported; .* data.bad_rows to skip$"
    with pytest.raises(DataError, match=words):
        prepare(config(), data, tmp_path / "base", tmp_path / "out")
    metrics = prepare(config(bad_rows="skip"), data, tmp_path / "base", tmp_path / "out")
    assert metrics["skipped_prompts"] == 1 and metrics["rows_gate"] == 2
    (finding,) = survey(config().data, data, tmp_path / "base").findings
    assert (finding.count, finding.stops) == (1, True) and finding.first.endswith("prompts.jsonl, row 9")


def test_a_tokenizer_without_a_template_is_no_bad_row(data, tmp_path):  # noqa: F811
    tokenizer_with("").save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="has no chat template"):
        prepare(config(bad_rows="skip"), data, tmp_path / "base", tmp_path / "out")
