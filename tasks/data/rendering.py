"""Whether the base's chat template can say what a row says: asked of every row, before anything is trained.

torch and transformers are imported when a template is read: who only reads rows needs neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.data.messages import CALLS, MEDIA, Messages
from tasks.data.values import BadRow
from tasks.rows import Row

Check = Callable[[Row], None]


def template_check(model: Path) -> Check:
    """A function that raises BadRow for a row which the chat template of a model directory refuses, or says in part.

    Raises ValueError for a tokenizer that cannot be read, or has no template.
    """
    from models.chat_template import load_tokenizer

    return Template(load_tokenizer(model)).check


class Template:
    """The chat template of a tokenizer."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def check(self, row: Row) -> None:
        """Raises BadRow for a row that the template refuses, in the template's own words, or whose turns, calls or tools
        it leaves out. row: `{messages}`, `{prompt}` or `{prompt, chosen, rejected}`, maybe with `tools`."""
        tools = row.get("tools")
        for messages, is_prompt in _conversations(row):
            text = self._render(messages, tools, is_prompt)
            if tools and text == self._render(messages, None, is_prompt):
                raise BadRow("the chat template has no place for tools")
            for place, message in enumerate(messages):
                self._check_message(messages, place, message, text, tools, is_prompt)

    def _check_message(
        self, messages: Messages, place: int, message: Mapping[str, Any], text: str, tools: Any, is_prompt: bool
    ) -> None:
        for key in (*CALLS, *MEDIA):
            without = {name: value for name, value in message.items() if name != key}
            if key in message and self._is_same(text, [*messages[:place], without, *messages[place + 1:]], tools, is_prompt):
                raise BadRow(f"the chat template has no place for {key}")
        # Most templates write a turn as it is, which is quickly seen; those that do not are asked without it.
        if message["content"].strip() not in text:
            if self._is_same(text, [*messages[:place], *messages[place + 1:]], tools, is_prompt):
                raise BadRow(f"the chat template leaves out a {message['role']} turn")

    def _is_same(self, text: str, messages: Messages, tools: Any, is_prompt: bool) -> bool:
        try:
            return self._render(messages, tools, is_prompt) == text
        except BadRow:
            return False  # what cannot be left out is not left out

    def _render(self, messages: Messages, tools: Any, is_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            return self._tokenizer.apply_chat_template(
                messages, tools=tools, tokenize=False, add_generation_prompt=is_prompt
            )
        except (TemplateError, TypeError, KeyError, AttributeError) as error:
            words = " ".join(str(error).split())
            raise BadRow(f"the chat template refuses it: {words}") from None


def _conversations(row: Row) -> list[tuple[Messages, bool]]:
    """What is rendered of a row, and whether an answer is to follow: chosen and rejected differ in their text alone."""
    if "messages" in row:
        return [(row["messages"], False)]
    return [(row["prompt"] + row["chosen"], False)] if "chosen" in row else [(row["prompt"], True)]
