"""Conversations rendered by a tokenizer's chat template, with every text in them kept text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import encode_marked_chat

from models.chat import plain_text
from models.chat.control_tokens import template_tokens
from models.chat.date import with_date
from models.chat.plain_text import Control, Rendered
from models.chat.turn import Messages, Render, Turn, read_turn

Tools = Sequence[Mapping[str, Any]] | None


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

    def rendered(change: Callable[[str, Control], str]) -> str:
        changed = [
            {**plain_text.mapped(said, partial(change, control=control)), **role} for role, said, control in parts
        ]
        told = plain_text.mapped(list(tools), partial(change, control=chat.all)) if tools else None
        return _rendered(tokenizer, template, changed, told, generation_prompt)

    parts = [_parted(message, chat) for message in messages]
    given = [(said, control) for _, said, control in parts] + [(tools or [], chat.all)]
    plain_text.check_keys([value for value, _ in given], chat.all)
    plain = rendered(lambda text, control: text)
    texts = [(text, control) for value, control in given for text in plain_text.texts_in(value)]
    if any(control.may_join(text) for text, control in texts):
        broken = rendered(lambda text, control: control.broken_off(text))
        if chat.all.tokens_in(broken) != chat.all.tokens_in(plain):  # one came about between texts
            return Rendered(broken, marked=True)
    if any(control.pattern.search(text) for text, control in texts):
        return Rendered(rendered(lambda text, control: control.broken(text)), marked=True)
    return Rendered(plain)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, template: str, messages: Messages, tools: Tools, generation_prompt: bool
) -> str:
    try:
        return renderer(tokenizer, tools)(template, messages, generation_prompt)
    except (TemplateError, TypeError) as error:
        raise TemplateRefusal(" ".join(str(error).split())) from None


def _parted(message: Mapping[str, Any], chat: Chat) -> tuple[dict[str, Any], dict[str, Any], Control]:
    """(the role, everything that is said, what it may not hold) of a message."""
    said = {key: value for key, value in message.items() if key != "role"}
    return {"role": message["role"]}, said, chat.own if message["role"] == "assistant" else chat.all


def render_response(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, prompt: str, ended: bool
) -> Rendered:
    """What the template writes beyond `prompt` for the last message, up to and including its end if it `ended`."""
    answer, chat = messages[-1], chat_of(tokenizer)
    content, said = answer.get("content"), {key for key, value in answer.items() if value}
    if not isinstance(content, str) or said - {"role", "content"}:
        return _structured_response(tokenizer, messages, tools, prompt, ended)
    before, tail = chat.turn.before, chat.turn.after + chat.turn.end if ended else ""
    plain = before + content + tail
    if chat.own.may_join(content):
        broken = before + chat.own.broken_off(content) + tail
        if chat.all.tokens_in(prompt + broken) != chat.all.tokens_in(prompt + plain):
            return Rendered(broken, marked=True)
    if chat.own.pattern.search(content):
        return Rendered(before + chat.own.broken(content) + tail, marked=True)
    return Rendered(plain)


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
