"""Chat templates: conversations to token ids and back, with the tokenizer of a model directory.

What is sampled from is what is trained on: a prompt is the template's rendering with its generation prompt, and a
response is what the template writes beyond it, up to and including the end of the turn. Both are cut from one text that
is tokenised as a whole, so the ids are those of `apply_chat_template`. An answer stands as it was given: its blanks are
kept, also where a template would trim them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from models import plain_text
from models.chat_date import with_date
from models.chat_turn import ANSWER, USER, Messages, Turn, completed, read_turn
from models.control_tokens import template_tokens
from models.plain_text import START, Control, Rendered
from models.weights import read_config, readable

STOP_IDS = "stop_token_ids"  # in tokenizer_config.json: ends of a turn beside the template's and EOS
DEFAULT, TOOL_USE = "default", "tool_use"  # the names that transformers picks of several templates
PROBE_TOOLS = [{"type": "function", "function": {
    "name": "probe", "description": "a probe", "parameters": {"type": "object", "properties": {}},
}}]
Tools = Sequence[Mapping[str, Any]] | None
ANCHOR = "a"  # a text to stand before one that is decoded


class Example(NamedTuple):
    """A prompt and the response to it. apart: a token would have straddled both, so they were tokenised one by one."""

    prompt_ids: list[int]
    response_ids: list[int]
    apart: bool


@dataclass(frozen=True)
class _Chat:
    """What is known of a tokenizer's template.

    own: what an assistant's text may not hold; all: what others' may not. lead: what decoding puts before every answer:
    the turn's `before`, and a blank where the tokenizer starts anew after a control token.
    """

    turn: Turn
    own: Control
    all: Control
    lead: str


# --- tokenizers ---


def load_tokenizer(path: Path, date: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory, its chat template completed (`models/chat_turn.py`).

    date: what templates take for today, as 2026-01-31; None: the day it is. Raises ValueError when it cannot be read,
    when it has no chat template that renders a user's and an assistant's turn, or no EOS token, without which nothing
    can be sampled, or when the model beside it has no embedding for one of its tokens.
    """
    if not (path / "tokenizer_config.json").is_file():
        raise ValueError(f"{path} has no tokenizer_config.json; save the model's tokenizer beside its weights")
    rows = read_config(path).get_text_config().vocab_size if (path / "config.json").is_file() else None
    with readable(path):
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    highest = max(tokenizer.get_vocab().values())
    if rows is not None and highest >= rows:
        raise ValueError(
            f"the tokenizer in {path} has token ids up to {highest}, and the embedding has {rows} rows for ids below "
            f"{rows}; call model.resize_token_embeddings({highest + 1}) and save the model again"
        )
    if not tokenizer.chat_template:
        raise ValueError(f"the tokenizer in {path} has no chat template; set tokenizer.chat_template and save it again")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer in {path} has no EOS token; set tokenizer.eos_token and save it again")
    tokenizer.chat_date = date
    _complete_template(tokenizer, path)
    _keep_stop_ids(tokenizer, path)
    return tokenizer


def _complete_template(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Complete the template, or those of several that are used here. Raises ValueError for one that cannot be used."""
    given = tokenizer.chat_template
    named = dict(given) if isinstance(given, dict) else {DEFAULT: given}
    if DEFAULT not in named:
        raise ValueError(f"{path} has several chat templates, {', '.join(sorted(named))}, and none is named {DEFAULT}; "
                         f"name the one for conversations {DEFAULT}")
    try:
        for name in {DEFAULT, TOOL_USE} & named.keys():
            named[name] = completed(named[name], _renderer(tokenizer, PROBE_TOOLS if name == TOOL_USE else None))
        tokenizer.chat_template = named if isinstance(given, dict) else named[DEFAULT]
        _chat_of(tokenizer)
    except TemplateSyntaxError as error:
        raise ValueError(f"the chat template in {path} is no Jinja (line {error.lineno}: {error.message}); mend it, or "
                         "set tokenizer.chat_template to another and save it again") from None
    except (TemplateError, TypeError, ValueError) as error:
        raise ValueError(f"the chat template in {path} cannot render a question and its answer: "
                         f"{' '.join(str(error).split())}; mend it, or set tokenizer.chat_template to another and save "
                         "it again") from None


def _keep_stop_ids(tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Let the tokenizer carry the ends that the model in `path` has learnt, for the stages that come after it.

    generation_config.json lists them; without one, transformers takes config.json's. A chain of adapters has neither.
    """
    files = [file for name in ("generation_config.json", "config.json") if (file := path / name).is_file()]
    if not files:
        return
    with readable(files[0]):
        learnt = json.loads(files[0].read_text(encoding="utf-8")).get("eos_token_id")
    learnt = learnt if isinstance(learnt, list) else [learnt]
    more = {token for token in learnt if token is not None} - stop_ids(tokenizer)
    if more:
        tokenizer.init_kwargs[STOP_IDS] = sorted({*tokenizer.init_kwargs.get(STOP_IDS, ()), *more})


def _renderer(tokenizer: PreTrainedTokenizerBase, tools: Tools = None) -> Any:
    def render(template: str, messages: Messages, generation_prompt: bool) -> str:
        return tokenizer.apply_chat_template(
            list(messages), tools=tools, chat_template=with_date(template, getattr(tokenizer, "chat_date", None)),
            tokenize=False, add_generation_prompt=generation_prompt,
        )

    return render


def _chat_of(tokenizer: PreTrainedTokenizerBase) -> _Chat:
    return _read_chat(tokenizer, str(tokenizer.chat_template), len(tokenizer))


@lru_cache(maxsize=16)
def _read_chat(tokenizer: PreTrainedTokenizerBase, _template: str, _size: int) -> _Chat:
    """Read once for a tokenizer as it is: with another template, or another token, it is read again."""
    declared = tokenizer.added_tokens_decoder.values()
    added = [token.content for token in declared]
    special = {token.content for token in declared if token.special} | set(tokenizer.all_special_tokens)
    template = tokenizer.get_chat_template()
    turn = read_turn(template, _renderer(tokenizer), {*added, *special}, tokenizer.eos_token)
    own, more = special | turn.marks, template_tokens(added, [template])
    return _Chat(turn, Control(own), Control(own | more), _lead(tokenizer, template, turn))


def _lead(tokenizer: PreTrainedTokenizerBase, template: str, turn: Turn) -> str:
    """What decoding puts before an answer to which the template's own rendering was tokenised."""
    prompt = _renderer(tokenizer)(template, [USER], True)
    prompt_ids, whole = (plain_text.encode(tokenizer, Rendered(t)) for t in (prompt, prompt + turn.before + ANSWER))
    if whole[: len(prompt_ids)] != prompt_ids:
        return turn.before
    return _decode_within(tokenizer, whole[len(prompt_ids):]).partition(ANSWER)[0]


def template_description(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """What, beside a model's weights, decides which prompt it reads: the hash of its template, and the date if asked."""
    template = str(tokenizer.chat_template)
    date = getattr(tokenizer, "chat_date", None) if "strftime_now" in template else None
    return {"chat_template": hashlib.sha256(template.encode()).hexdigest(), **({"date": date} if date else {})}


# --- prompts and examples ---


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> list[int]:
    """Token ids of a conversation up to where the assistant begins to answer, without reasoning.

    Raises jinja2.TemplateError for a conversation that the template refuses, ValueError for a control token in a text
    that cannot be kept as text.
    """
    return plain_text.encode(tokenizer, _render(tokenizer, messages, tools, generation_prompt=True))


def encode_example(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None, ended: bool = True
) -> tuple[list[int], list[int]]:
    """(ids of the prompt, ids of the response) of a conversation that ends with an assistant's message.

    The prompt's are those of `encode_prompt`. The response includes the end of the turn, unless the answer was cut
    (`ended` False). Raises as `encode_prompt`.
    """
    return example(tokenizer, messages, tools, ended)[:2]


def example(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None, ended: bool = True
) -> Example:
    """As `encode_example`, and whether prompt and response could not be told apart in the whole."""
    prompt = _render(tokenizer, messages[:-1], tools, generation_prompt=True)
    response = _response(tokenizer, messages, tools, prompt.text, ended)
    prompt_ids = plain_text.encode(tokenizer, prompt)
    whole = plain_text.encode(tokenizer, Rendered(prompt.text + response.text, prompt.marked or response.marked))
    ids = whole[len(prompt_ids):]
    apart = whole[: len(prompt_ids)] != prompt_ids or _blanks_are_lost(tokenizer, messages[-1], ids)
    return Example(prompt_ids, _encode_apart(tokenizer, response) if apart else ids, apart)


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, generation_prompt: bool
) -> Rendered:
    """What the template makes of a conversation; control tokens in its texts are marked."""
    chat, template = _chat_of(tokenizer), tokenizer.get_chat_template(None, list(tools) if tools else None)

    def rendered(change: Callable[[str, Control], str]) -> str:
        changed = [{**plain_text.mapped(rest, partial(change, control=control)), **role} for role, rest, control in parts]
        told = plain_text.mapped(list(tools), partial(change, control=chat.all)) if tools else None
        return _renderer(tokenizer, told)(template, changed, generation_prompt)

    parts = [_parted(message, chat) for message in messages]
    given = [(rest, control) for _, rest, control in parts] + [(tools or [], chat.all)]
    plain_text.check_keys([value for value, _ in given], chat.all)
    plain = rendered(lambda text, control: text)
    texts = [(text, control) for value, control in given for text in plain_text.texts_in(value)]
    if any(control.may_join(text) for text, control in texts):
        broken = rendered(lambda text, control: control.mark_apart(text))
        if chat.all.count(broken) != chat.all.count(plain):
            return Rendered(broken, marked=True)
    if any(control.pattern.search(text) for text, control in texts):
        return Rendered(rendered(lambda text, control: control.mark(text)), marked=True)
    return Rendered(plain)


def _parted(message: Mapping[str, Any], chat: _Chat) -> tuple[dict[str, Any], dict[str, Any], Control]:
    """(the role, everything that is said, what it may not hold) of a message."""
    rest = {key: value for key, value in message.items() if key != "role"}
    return {"role": message["role"]}, rest, chat.own if message["role"] == "assistant" else chat.all


def _response(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, prompt: str, ended: bool
) -> Rendered:
    """What the template writes beyond `prompt` for the last message, up to and including its end if it `ended`."""
    answer, chat = messages[-1], _chat_of(tokenizer)
    content, said = answer.get("content"), {key for key, value in answer.items() if value}
    if not isinstance(content, str) or said - {"role", "content"}:
        return _structured_response(tokenizer, messages, tools, prompt, ended)
    before, tail = chat.turn.before, chat.turn.after + chat.turn.end if ended else ""
    plain = before + content + tail
    if chat.own.may_join(content):
        broken = before + chat.own.mark_apart(content) + tail
        if chat.all.count(prompt + broken) != chat.all.count(prompt + plain):
            return Rendered(broken, marked=True)
    if chat.own.pattern.search(content):
        return Rendered(before + chat.own.mark(content) + tail, marked=True)
    return Rendered(plain)


def _structured_response(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools, prompt: str, ended: bool
) -> Rendered:
    """As `_response`, of a message that is more than a text: calls of tools, several parts."""
    chat, whole = _chat_of(tokenizer), _render(tokenizer, messages, tools, generation_prompt=False)
    start = prompt.removesuffix(chat.turn.unwritten)
    if not whole.text.startswith(start):
        fields = ", ".join(sorted(key for key, value in messages[-1].items() if value and key != "role"))
        raise ValueError(
            f"the chat template writes an answer with {fields} otherwise than after its own generation prompt, so it "
            "cannot be trained; leave such fields out (answers are given without reasoning), or drop the row"
        )
    rest = whole.text[len(start):]
    ends = [found for found in chat.own.pattern.finditer(rest) if rest[found.start() - 1: found.start()] != START]
    if ends and not rest[ends[-1].end():].strip():
        return Rendered(rest[: ends[-1].end() if ended else ends[-1].start()], whole.marked)
    return Rendered(rest + chat.turn.end * ended, whole.marked)


def _blanks_are_lost(tokenizer: PreTrainedTokenizerBase, answer: Mapping[str, Any], ids: Sequence[int]) -> bool:
    """Whether the blanks at an answer's beginning were swallowed by the token before it (Phi-3's `<|assistant|>`)."""
    content = answer.get("content")
    if not isinstance(content, str) or not content[:1].isspace():
        return False
    blanks = content[: len(content) - len(content.lstrip())]
    return not decode_response(tokenizer, ids).startswith(blanks)


def _encode_apart(tokenizer: PreTrainedTokenizerBase, response: Rendered) -> list[int]:
    """Token ids of a response by itself, after the blank that the tokenizer puts before every answer, if it does."""
    chat = _chat_of(tokenizer)
    text = chat.lead.removesuffix(chat.turn.before) + response.text
    line = plain_text.encode(tokenizer, Rendered("\n"))
    ids = plain_text.encode(tokenizer, Rendered("\n" + text, response.marked))
    return ids[len(line):] if ids[: len(line)] == line else plain_text.encode(tokenizer, Rendered(text, response.marked))


# --- responses ---


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first added token that the template writes after it, else EOS."""
    return tokenizer.convert_tokens_to_ids(_chat_of(tokenizer).turn.end)


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens after which a response is finished: the template's end, EOS, and those that the base had learnt."""
    learnt = tokenizer.init_kwargs.get(STOP_IDS, ())
    return frozenset({end_of_turn(tokenizer), tokenizer.eos_token_id, *learnt})


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a response as `encode_example` would take it: without its end and what the template puts around it.

    Other special tokens are left out; blanks stay.
    """
    chat, stops = _chat_of(tokenizer), stop_ids(tokenizer)
    kept = list(takewhile(lambda token: token not in stops, ids))
    text = _decode_within(tokenizer, kept).removeprefix(chat.lead)
    return text.removesuffix(chat.turn.after) if len(kept) < len(ids) else text


def _decode_within(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of tokens as it stands within another text, so that no decoder takes its first blank for its own."""
    anchor = tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
    known, text = (
        tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for tokens in (anchor, [*anchor, *ids])
    )
    return text[len(known):]
