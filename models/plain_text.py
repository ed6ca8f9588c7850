"""Text from outside stays text: a control token that someone writes into a message is spelled, never becomes the token.

transformers wraps such places in private marks before rendering and encodes what stands between them without added
tokens. Whatever holds none is encoded as the tokenizer does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import encode_marked_chat, mark_control_tokens

# What `encode_marked_chat` drops where it stands alone, and breaks the text at.
START, END = "\U000f0000", "\U000f0001"


@dataclass(frozen=True)
class Rendered:
    """A text for the tokenizer. marked: whether private marks show what must be spelled."""

    text: str
    marked: bool = False


class Control:
    """Control tokens, as they are looked for in texts."""

    def __init__(self, tokens: Collection[str]):
        self.tokens = frozenset(token for token in tokens if token.strip())
        longest_first = sorted(self.tokens, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._longest = max(map(len, self.tokens), default=0)
        self._beginnings = {token[:size] for token in self.tokens for size in range(1, len(token))}
        self._ends = {token[size:] for token in self.tokens for size in range(1, len(token))}

    def mark(self, text: str) -> str:
        """The text with marks around every control token in it."""
        return mark_control_tokens(text, self.pattern)

    def mark_apart(self, text: str) -> str:
        """As `mark`, and lone marks at the text's edges, within its blanks, so that nothing joins it from outside."""
        marked = self.mark(text)
        core = marked.strip()
        lead = marked[: marked.index(core)]
        return f"{lead}{END}{core}{START}{marked[len(lead) + len(core):]}" if core else marked

    def may_join(self, text: str) -> bool:
        """Whether a token could come about where the text meets what stands before or after it."""
        core = text.strip()
        if len(core) < self._longest and any(core in token for token in self.tokens):
            return bool(core)
        sizes = range(1, min(self._longest, len(core) + 1))
        return any(core[-size:] in self._beginnings or core[:size] in self._ends for size in sizes)

    def tokens_in(self, text: str) -> list[str]:
        """The control tokens that an encoder would find, in order."""
        return self.pattern.findall(text)


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text in it changed. The keys of mappings stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [mapped(item, change) for item in value]
    return value


def texts_in(value: Any) -> list[str]:
    """Every text in a value."""
    found: list[str] = []
    mapped(value, lambda text: found.append(text) or text)
    return found


def check_keys(value: Any, control: Control) -> None:
    """Raises ValueError for a control token in the name of a field, which cannot be marked."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if control.pattern.search(str(key)):
                raise ValueError(f"the field name {key!r} holds a control token; give the field another name")
            check_keys(item, control)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            check_keys(item, control)


def encode(tokenizer: PreTrainedTokenizerBase, rendered: Rendered) -> list[int]:
    """Token ids. Raises ValueError for a control token that the tokenizer makes of the spelled text as well."""
    if not rendered.marked:
        return tokenizer(rendered.text, add_special_tokens=False)["input_ids"]
    try:
        return encode_marked_chat(tokenizer, rendered.text)
    except ValueError as error:
        raise ValueError(f"a text holds a control token that cannot be kept as text ({error}); take it out") from None
