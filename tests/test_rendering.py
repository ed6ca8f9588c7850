"""Every row is asked of the base's chat template before anything is trained; templates in words of our own."""

import pytest

from tasks.data.rendering import Template, template_check
from tasks.data.values import BadRow
from tests.tiny_models import QWEN_TEMPLATE, make_gpt2, tokenizer_with

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
    "{% if tools %}[tools]{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}{% for m in messages %}[{{ m.role }}]"
    "{{ m.content }}{% for c in m.tool_calls or [] %}[call]{{ c.function | tojson }}{% endfor %}[end]{% endfor %}"
)
# As templates that were made for two roles and pass over all others.
DEAF = "{% for m in messages %}{% if m.role in ('user', 'assistant') %}[{{ m.role }}]{{ m.content }}[end]{% endif %}{% endfor %}"
# As Qwen3 and R1: reasoning before the mark is taken out of earlier turns.
THINKING = "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}[end]{% endfor %}"


def check(template, row):
    Template(tokenizer_with(template)).check(row)


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
])  # fmt: skip
def test_what_a_template_refuses_or_leaves_out_is_a_bad_row(template, row, words):
    with pytest.raises(BadRow, match=words):
        check(template, row)


@pytest.mark.parametrize(("template", "row"), [
    (STRICT, {"prompt": [USER]}),
    (STRICT, {"prompt": [{**USER, "content": "  17?\n"}], "chosen": [ANSWER], "rejected": [ANSWER]}),
    (QWEN_TEMPLATE, {"messages": [SYSTEM, USER, ANSWER]}),
    (WITH_TOOLS, {"messages": [USER, CALLING, RESULT, ANSWER], "tools": TOOLS}),
    (WITH_TOOLS, {"messages": [USER, CALLING], "tools": TOOLS}),
    (THINKING, {"messages": [USER, {**ANSWER, "content": "Hm.</think>Yes."}, USER, ANSWER]}),
])  # fmt: skip
def test_what_a_template_can_say(template, row):
    check(template, row)


def test_the_template_of_a_model_directory(tmp_path):
    make_gpt2(tmp_path)
    template_check(tmp_path)({"prompt": [USER]})
