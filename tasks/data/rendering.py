"""Whether the base's chat template and tokenizer can say what a row says: asked of every row, before any training.

torch and transformers are imported when a template is read: who only reads rows needs neither.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from models.chat.turn import ANSWER
from tasks.common.rows import Row
from tasks.data.messages import CALLS, MEDIA, Messages
from tasks.data.values import BadRow

Check = Callable[[Row], None]


def template_check(model: Path) -> Check:
    """A function that raises BadRow for a row which the chat template of a model directory refuses, or says in part.

    The template is read with the first row: data that cannot be read is said before torch is imported. The function
    then raises ValueError for a tokenizer that cannot be read, or has no template.
    """

    @cache
    def tokenizer() -> Any:
        from models.chat.template import load_tokenizer

        return load_tokenizer(model)

    return lambda row: check_row(tokenizer(), row)


def check_row(tokenizer: Any, row: Row) -> None:
    """Raises BadRow for a row that the tokenizer's chat template refuses, in the template's own words, of which it
    leaves out a turn, a call or tools, or of which the stages can make no token ids.

    row: `{messages}`, `{prompt}` or `{prompt, chosen, rejected}`, maybe with `tools`.
    """
    for messages, is_prompt in conversations(row):
        _check_conversation(partial(_render, tokenizer, is_prompt), messages, row.get("tools"), is_prompt)
        _check_ids(tokenizer, messages, row.get("tools"), is_prompt)


def _check_conversation(
    rendered: Callable[[Any, Messages], str], messages: Messages, tools: Any, is_prompt: bool
) -> None:
    render = partial(rendered, tools)
    text = render(messages)
    if tools and text == rendered(None, messages):
        raise BadRow("the chat template has no place for tools")
    for place, message in enumerate(messages):
        for key in (key for key in (*CALLS, *MEDIA) if key in message):
            without = {name: value for name, value in message.items() if name != key}
            if _is_same(render, text, [*messages[:place], without, *messages[place + 1 :]]):
                raise BadRow(f"the chat template has no place for {key}")
    if not is_prompt:
        _check_answer(render, messages, text)
    if not _stand_in_order(messages, text):
        for place, message in enumerate(messages):
            if message["content"].strip() and _is_same(render, text, [*messages[:place], *messages[place + 1 :]]):
                raise BadRow(f"the chat template leaves out a {message['role']} turn")


def _check_ids(tokenizer: Any, messages: Messages, tools: Any, is_prompt: bool) -> None:
    """Encoded as the stages do it. The reason quotes nothing of the row; the detail may."""
    from models.chat.template import encode_example, encode_prompt

    try:
        (encode_prompt if is_prompt else encode_example)(tokenizer, messages, tools)
    except ValueError as error:
        raise BadRow("it cannot be made token ids", str(error)) from None


def _render(tokenizer: Any, is_prompt: bool, tools: Any, messages: Messages) -> str:
    try:
        return tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=is_prompt)
    except Exception as error:  # a template is somebody's code, and raises what it likes
        words = " ".join(str(error).split())
        raise BadRow(f"the chat template refuses it: {words}") from None


def _check_answer(render: Callable[[Messages], str], messages: Messages, text: str) -> None:
    """Raises BadRow where the template takes an answer apart: answers are trained as they stand; blanks may go."""
    answer = messages[-1]
    if any(key in answer for key in (*CALLS, *MEDIA)):
        return
    head, _, tail = render([*messages[:-1], {**answer, "content": ANSWER}]).rpartition(ANSWER)
    inside = text[len(head) : len(text) - len(tail)]
    if not (text.startswith(head) and text.endswith(tail) and inside.strip() == answer["content"].strip()):
        raise BadRow("the chat template writes the answer otherwise than it stands, and it would be trained as it "
                     "stands after a prompt without reasoning; cut reasoning from the text, or set a template that "
                     "keeps it")


def _is_same(render: Callable[[Messages], str], text: str, messages: Messages) -> bool:
    """Whether other messages give the same text, so that what they lack is not in it."""
    try:
        return render(messages) == text
    except BadRow:
        return False  # what cannot be left out is not left out


def _stand_in_order(messages: Messages, text: str) -> bool:
    """Whether a rendering holds what is said turn by turn, as most templates write it: the quick way to see it."""
    end = 0
    for content in (message["content"].strip() for message in messages):
        start = text.find(content, end)
        if start < 0:
            return False
        end = start + len(content)
    return True


def conversations(row: Row) -> list[tuple[Messages, bool]]:
    """The conversations of a row, and whether an answer is to follow."""
    if "messages" in row:
        return [(row["messages"], False)]
    if "chosen" not in row:
        return [(row["prompt"], True)]
    return [(row["prompt"] + row[key], False) for key in ("chosen", "rejected")]
