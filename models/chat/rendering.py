"""Conversations rendered by a tokenizer's chat template, with every text in them kept text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import encode_marked_chat

from models.chat import plain_text
from models.chat.control_tokens import template_tokens
from models.chat.plain_text import Control, Rendered
from models.chat.turn import Messages, Render, Turn, read_turn, with_date

Tools = Sequence[Mapping[str, Any]] | None
Change = Callable[[Control, str], str]  # of a text, by what it may not hold


class TemplateRefusal(ValueError):
    """A conversation that the chat template does not take; `reason` is the template's own."""

    def __init__(self, reason: str):
        super().__init__(f"the chat template refuses the conversation ({reason}); change the row, or drop it")
        self.reason = reason


@dataclass(frozen=True)
class Chat:
    """What is known of a tokenizer's template.

    own: what an assistant's text may not hold; all: what others' may not. ids: of those, by token, but for the unknown
    token, which any text may become.
    """

    turn: Turn
    own: Control
    all: Control
    ids: Mapping[str, int] = field(hash=False)


def renderer(tokenizer: PreTrainedTokenizerBase, tools: Tools = None) -> Render:
    """What renders conversations by a template, on the date that `load_tokenizer` was given."""

    def render(template: str, messages: Messages, generation_prompt: bool) -> str:
        return tokenizer.apply_chat_template(
            list(messages), tools=tools, chat_template=with_date(template, getattr(tokenizer, "chat_date", None)),
            tokenize=False, add_generation_prompt=generation_prompt,
        )

    return render


def chat_of(tokenizer: PreTrainedTokenizerBase) -> Chat:
    """Read once for a tokenizer as it is: with another template, or another token, it is read again."""
    return _read_chat(tokenizer, str(tokenizer.chat_template), len(tokenizer))


@lru_cache(maxsize=16)
def _read_chat(tokenizer: PreTrainedTokenizerBase, _template: str, _size: int) -> Chat:
    declared = tokenizer.added_tokens_decoder.values()
    added = [token.content for token in declared]
    special = {token.content for token in declared if token.special} | set(tokenizer.all_special_tokens)
    template = tokenizer.get_chat_template()
    turn = read_turn(template, renderer(tokenizer), {*added, *special}, tokenizer.eos_token)
    own = special | turn.marks
    everything = Control(own | template_tokens(added, [template]))
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in everything.tokens - {tokenizer.unk_token}}
    return Chat(turn, Control(own), everything, ids)


def encode(tokenizer: PreTrainedTokenizerBase, rendered: Rendered) -> list[int]:
    """Token ids, with no control token that does not stand in the text.

    Raises ValueError where the tokenizer makes one of other text: its normalizer folds characters, say.
    """
    if rendered.marked:
        ids = encode_marked_chat(tokenizer, rendered.text)
    else:
        ids = tokenizer(rendered.text, add_special_tokens=False)["input_ids"]
    chat = chat_of(tokenizer)
    known = set(chat.ids.values())
    made = Counter(token for token in ids if token in known)
    written = Counter(chat.ids.get(token) for token in chat.all.tokens_in(rendered.text))
    if forged := made - written:
        raise ValueError(
            f"the tokenizer makes the control token {tokenizer.convert_ids_to_tokens(min(forged))!r} of a text that "
            "only resembles it, so it cannot be kept as text; take it out"
        )
    return ids


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> Rendered:
    """A conversation up to where the assistant answers. Raises TemplateRefusal, and ValueError as `check_keys`."""
    return _render(tokenizer, messages, tools, generation_prompt=True)


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, generation_prompt: bool
) -> Rendered:
    """What the template makes of a conversation; control tokens in its texts are broken."""
    chat, template = chat_of(tokenizer), tokenizer.get_chat_template(None, list(tools) if tools else None)

    def write(change: Change) -> str:
        changed = [{**plain_text.mapped(fields, partial(change, control)), **role} for role, fields, control in parts]
        changed_tools = plain_text.mapped(list(tools), partial(change, chat.all)) if tools else None
        try:
            return renderer(tokenizer, changed_tools)(template, changed, generation_prompt)
        except (TemplateError, TypeError) as error:
            raise TemplateRefusal(" ".join(str(error).split())) from None

    parts = [
        ({"role": message["role"]}, {key: value for key, value in message.items() if key != "role"},
         chat.own if message["role"] == "assistant" else chat.all)
        for message in messages
    ]  # fmt: skip
    outside = [(control, fields) for _, fields, control in parts] + [(chat.all, tools or [])]
    plain_text.check_keys([value for _, value in outside], chat.all)
    return _with_plain_texts(chat, outside, write)


def _with_plain_texts(
    chat: Chat, outside: Iterable[tuple[Control, Any]], write: Callable[[Change], str], before: str = ""
) -> Rendered:
    """What `write` makes of values from outside, their texts changed where they hold, or lead to, control tokens.

    outside: with what their texts may not hold. before: what stands before it.
    """
    texts = [(control, text) for control, value in outside for text in plain_text.texts_in(value)]
    plain = write(lambda _, text: text)
    if any(control.may_join(text) for control, text in texts):
        broken = write(Control.broken_off)
        if chat.all.tokens_in(before + broken) != chat.all.tokens_in(before + plain):  # one came about between texts
            return Rendered(broken, marked=True)
    if any(control.pattern.search(text) for control, text in texts):
        return Rendered(write(Control.broken), marked=True)
    return Rendered(plain)


def render_response(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, prompt: str, ended: bool
) -> Rendered:
    """What the template writes beyond `prompt` for the last message, up to and including its end if it `ended`."""
    answer, chat = messages[-1], chat_of(tokenizer)
    content, fields = answer.get("content"), {key for key, value in answer.items() if value}
    if not isinstance(content, str) or fields - {"role", "content"}:
        return _structured_response(tokenizer, messages, tools, prompt, ended)
    before, tail = chat.turn.before, chat.turn.after + chat.turn.end if ended else ""
    return _with_plain_texts(
        chat, [(chat.own, content)], lambda change: before + change(chat.own, content) + tail, before=prompt
    )


def _structured_response(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, prompt: str, ended: bool
) -> Rendered:
    """As `render_response`, of a message that is more than a text: calls of tools, several parts."""
    chat, whole = chat_of(tokenizer), _render(tokenizer, messages, tools, generation_prompt=False)
    start = prompt.removesuffix(chat.turn.unwritten)
    if not whole.text.startswith(start):
        fields = ", ".join(sorted(key for key, value in messages[-1].items() if value and key != "role"))
        raise ValueError(
            f"the chat template writes an answer with {fields} otherwise than after its own generation prompt, so it "
            "cannot be trained; leave such fields out (answers are given without reasoning), or drop the row"
        )
    rest = whole.text[len(start):]
    ends = list(chat.own.pattern.finditer(rest))
    if ends and not rest[ends[-1].end():].strip():
        return Rendered(rest[: ends[-1].end() if ended else ends[-1].start()], whole.marked)
    return Rendered(rest + chat.turn.end * ended, whole.marked)
