"""How a chat template writes an assistant's turn: what it puts around the answer, and what it needs before one.

Answers are given without reasoning. So a template is completed until its generation prompt reaches up to the answer:
an empty think block that it writes into every finished turn, a channel's name, the end of a block that it leaves open.
The completion becomes part of the tokenizer's template, so all stages, the package and every server prompt alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date as Date
from os.path import commonprefix
from typing import Any

from jinja2 import TemplateError

from models.chat.plain_text import Control

Messages = Sequence[Mapping[str, Any]]
Render = Callable[[str, Messages, bool], str]  # template, messages, whether the generation prompt is wanted

CALLS = ("tool_calls", "function_call")  # what a message says beside its text: which tools it calls
QUESTION, ANSWER = "probequestion", "probeanswer"  # no template has reasons to cut, trim or look for these
USER, ASSISTANT = {"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}
NO_THINKING = "{% set enable_thinking = false %}\n"  # the newline is the one that Jinja drops after a block
# What opens a block of reasoning, and what closes it where nothing stands in it.
REASONING = {"<think>": "\n</think>\n\n", "[THINK]": "[/THINK]", "<|START_THINKING|>": "<|END_THINKING|>"}
REASONING_TAG = re.compile(r"[<\[]\|?/?(?:think|(?:start|end)_thinking)\|?[>\]]", re.IGNORECASE)


@dataclass(frozen=True)
class Turn:
    """What stands around an answer.

    before: blanks between the generation prompt and the answer; the model writes them.
    after: what the template writes between the answer and its end.
    end: the token that ends the turn: the first added token after the answer, else EOS.
    unwritten: the end of the generation prompt that a finished conversation does not show.
    marks: the added tokens that the template writes into plain conversations, tags of reasoning left out.
    """

    before: str
    after: str
    end: str
    unwritten: str
    marks: frozenset[str]


def read_turn(template: str, render: Render, added: Collection[str], eos: str) -> Turn:
    """The turn of a template whose tokenizer has the `added` tokens.

    Raises ValueError for a template that leaves out what a user or an assistant says.
    """
    prompt, head, tail = _sides(template, render)
    unwritten = prompt.removeprefix(commonprefix([prompt, head]))
    before = head.removeprefix(prompt) if not unwritten else ""
    tokens = Control(added).pattern
    end = tokens.search(tail)
    marks = {match for text in (prompt, head, tail, *_others(template, render)) for match in tokens.findall(text)}
    return Turn(
        before="" if before.strip() else before,
        after=tail[: end.start()] if end else "",
        end=end[0] if end else eos,
        unwritten=unwritten,
        marks=frozenset(mark for mark in marks if not REASONING_TAG.fullmatch(mark)),
    )


def completed(template: str, render: Render) -> str:
    """The template with a generation prompt that reaches up to an answer without reasoning; itself where it does.

    A switch `enable_thinking` is turned off. Raises ValueError as `read_turn`.
    """
    if re.search(r"\benable_thinking\b", template) and not template.startswith(NO_THINKING):
        template = NO_THINKING + template
    missing = _missing(*_sides(template, render)[:2])
    if not missing:
        return template
    return f'{template.removesuffix(chr(10))}{{{{ {_literal(missing)} if add_generation_prompt else "" }}}}'


def with_date(template: str, date: str | None) -> str:
    """The template with its `strftime_now` at midnight of `date` (ISO): equal inputs give equal prompts on every day.

    Itself for None, or if it asks for no date. transformers hands a template no function of ours, so the date is a
    macro in front of it.
    """
    if date is None or "strftime_now" not in template:
        return template
    day = Date.fromisoformat(date)
    # Every directive of a format that stands in the template; Jinja drops the newline after the macro.
    names = sorted(set(re.findall("%-?[A-Za-z]", template)))
    chain = "".join(f" | replace({_literal(name)}, {_literal(day.strftime(name))})" for name in names)
    return "{%- macro strftime_now(format) -%}{{ format" + chain + " }}{%- endmacro %}\n" + template


def _literal(text: str) -> str:
    """As Jinja reads it."""
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def _missing(prompt: str, head: str) -> str:
    """What the generation prompt lacks up to the answer. head: what precedes the answer in a whole conversation."""
    if head.startswith(prompt):
        rest = head.removeprefix(prompt)
        return rest if rest.strip() else ""
    opened = max(REASONING, key=prompt.rfind)
    place = prompt.rfind(opened)
    if place < 0 or REASONING[opened].strip() in prompt[place:]:
        return ""
    closing = REASONING[opened]
    return closing if prompt.endswith("\n") or not closing.startswith("\n") else "\n" + closing


def _sides(template: str, render: Render) -> tuple[str, str, str]:
    """(the prompt for an answer, what stands before the answer in a whole conversation, what stands after it)."""
    prompt, whole = render(template, [USER], True), render(template, [USER, ASSISTANT], False)
    for text, place, who in ((prompt, QUESTION, "a user"), (whole, ANSWER, "an assistant")):
        if place not in text:
            raise ValueError(f"leaves out what {who} says")
    head, _, tail = whole.rpartition(ANSWER)
    return prompt, head, tail


def _others(template: str, render: Render) -> Iterator[str]:
    """Conversations with other roles, and with turns that may be written otherwise; those that the template accepts."""
    system, tool = ({"role": role, "content": QUESTION} for role in ("system", "tool"))
    for messages in ([USER, ASSISTANT, USER], [system, USER], [USER, ASSISTANT, tool]):
        with suppress(TemplateError):
            yield render(template, messages, True)
