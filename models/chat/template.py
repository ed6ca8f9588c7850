"""Chat templates: conversations to token ids and back, with the tokenizer of a model directory.

What is sampled from is what is trained on: a prompt is the template's rendering with its generation prompt, and a
response is what the template writes beyond it, up to and including the end of the turn. Both are cut from one text that
is tokenised as a whole, so the ids are those of `apply_chat_template`. An answer stands as it was given, its blanks
included, also where a template would trim them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from models.chat.plain_text import Rendered
from models.chat.rendering import Chat, Tools, chat_of, encode, render_prompt, render_response, renderer
from models.chat.turn import ANSWER, USER, Messages, completed
from models.lm.weights import read_config, readable

STOP_IDS = "stop_token_ids"  # in tokenizer_config.json: ends of a turn beside the template's and EOS
DEFAULT, TOOL_USE = "default", "tool_use"  # the names that transformers picks of several templates
PROBE_TOOLS = [{"type": "function", "function": {
    "name": "probe", "description": "a probe", "parameters": {"type": "object", "properties": {}},
}}]
LONE_BLANK = re.compile(r"^ (?!\s)")
ANCHOR = "a"  # a text to stand before one that is decoded


class Example(NamedTuple):
    """A prompt and the response to it. apart: a token would have straddled both, so they were tokenised one by one."""

    prompt_ids: list[int]
    response_ids: list[int]
    apart: bool


def load_tokenizer(path: Path, date: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory, its chat template completed (`models/chat/turn.py`).

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
            named[name] = completed(named[name], renderer(tokenizer, PROBE_TOOLS if name == TOOL_USE else None))
        tokenizer.chat_template = named if isinstance(given, dict) else named[DEFAULT]
        chat_of(tokenizer)
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


def template_description(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """What beside its weights decides what a model reads: the hash of its template, and the date if that names one."""
    template = str(tokenizer.chat_template)
    date = getattr(tokenizer, "chat_date", None) if "strftime_now" in template else None
    return {"chat_template": hashlib.sha256(template.encode()).hexdigest(), **({"date": date} if date else {})}


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages, tools: Tools = None) -> list[int]:
    """Token ids of a conversation up to where the assistant begins to answer, without reasoning.

    Raises TemplateRefusal, a ValueError, for a conversation that the template refuses, and ValueError for a control
    token in a text that cannot be kept as text.
    """
    return encode(tokenizer, render_prompt(tokenizer, messages, tools))


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
    prompt = render_prompt(tokenizer, messages[:-1], tools)
    response = render_response(tokenizer, messages, tools, prompt.text, ended)
    prompt_ids = encode(tokenizer, prompt)
    whole = encode(tokenizer, Rendered(prompt.text + response.text, prompt.marked or response.marked))
    ids = whole[len(prompt_ids):]
    apart = whole[: len(prompt_ids)] != prompt_ids or _blanks_are_lost(tokenizer, messages[-1], ids)
    return Example(prompt_ids, _encode_apart(tokenizer, response) if apart else ids, apart)


def _blanks_are_lost(tokenizer: PreTrainedTokenizerBase, answer: Mapping[str, Any], ids: Sequence[int]) -> bool:
    """Whether the blanks at an answer's beginning were swallowed by the token before it (Phi-3's `<|assistant|>`)."""
    content = answer.get("content")
    if not isinstance(content, str) or not content[:1].isspace() or LONE_BLANK.match(content):
        return False
    blanks = content[: len(content) - len(content.lstrip())]
    return not decode_response(tokenizer, ids).startswith(blanks)


def _encode_apart(tokenizer: PreTrainedTokenizerBase, response: Rendered) -> list[int]:
    """Token ids of a response by itself, after the blank that the tokenizer puts before every answer, if it does."""
    chat = chat_of(tokenizer)
    text = _lead(tokenizer, chat).removesuffix(chat.turn.before) + response.text
    line = encode(tokenizer, Rendered("\n"))
    alone, within = (encode(tokenizer, Rendered(t, response.marked)) for t in (text, "\n" + text))
    return within[len(line):] if within[: len(line)] == line else alone


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first added token that the template writes after it, else EOS."""
    return tokenizer.convert_tokens_to_ids(chat_of(tokenizer).turn.end)


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens after which a response is finished: the template's end, EOS, and those that the base had learnt."""
    learnt = tokenizer.init_kwargs.get(STOP_IDS, ())
    return frozenset({end_of_turn(tokenizer), tokenizer.eos_token_id, *learnt})


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of a response as `encode_example` would take it: without its end and what the template puts around it.

    Other special tokens are left out. Blanks stay, but for a single one before the first word: a token that begins a
    word in the middle of a text has it, and it is no indentation.
    """
    chat, stops = chat_of(tokenizer), stop_ids(tokenizer)
    kept = list(takewhile(lambda token: token not in stops, ids))
    text = LONE_BLANK.sub("", _decode_within(tokenizer, kept).removeprefix(_lead(tokenizer, chat)))
    return text.removesuffix(chat.turn.after) if len(kept) < len(ids) else text


@lru_cache(maxsize=16)
def _lead(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> str:
    """What decoding puts before every answer: what the template does, and the blank of a tokenizer that starts anew."""
    prompt = renderer(tokenizer)(tokenizer.get_chat_template(), [USER], True)
    answered = prompt + chat.turn.before + ANSWER
    prompt_ids, whole = (encode(tokenizer, Rendered(text)) for text in (prompt, answered))
    if whole[: len(prompt_ids)] != prompt_ids:
        return chat.turn.before
    return _decode_within(tokenizer, whole[len(prompt_ids):]).partition(ANSWER)[0]


def _decode_within(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of tokens as it stands within another text, so that no decoder takes its first blank for its own."""
    anchor = tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
    known, text = (
        tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for tokens in (anchor, [*anchor, *ids])
    )
    return text[len(known):]
