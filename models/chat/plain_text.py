"""Text from outside stays text: a control token that someone writes into a message is spelled, never becomes the token.

Such a token is broken by a private mark after its first character, before the template is rendered. transformers drops
the mark where it stands alone, and encodes what stands before and after it apart. Whatever holds none is encoded as the
tokenizer does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARK = "\U000f0001"  # one of the two that `encode_marked_chat` knows; together they would mean something else
PRIVATE = re.compile("[\U000f0000\U000f0001]")


@dataclass(frozen=True)
class Rendered:
    """A text for the tokenizer. marked: whether private marks show where it must be broken."""

    text: str
    marked: bool = False


class Control:
    """Control tokens, as they are looked for in texts."""

    def __init__(self, tokens: Collection[str]):
        self.tokens = frozenset(token for token in tokens if token.strip())
        longest_first = sorted(self.tokens, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._overlapping = re.compile(f"(?=({self.pattern.pattern}))")
        self._longest = max(map(len, self.tokens), default=0)
        self._beginnings = {token[:size] for token in self.tokens for size in range(1, len(token))}
        self._ends = {token[size:] for token in self.tokens for size in range(1, len(token))}

    def broken(self, text: str) -> str:
        """The text with a mark within every control token in it. Raises ValueError for one of a single character."""
        text = PRIVATE.sub("", text)
        parts, done = [], 0
        for match in self._overlapping.finditer(text):
            if len(match[1]) == 1:
                raise ValueError(
                    f"a text holds the control token {match[1]!r}, which cannot be kept as text; take it out"
                )
            parts.append(text[done: match.start() + 1])
            done = match.start() + 1
        return MARK.join([*parts, text[done:]])

    def broken_off(self, text: str) -> str:
        """As `broken`, with marks at the text's edges, within its blanks, so that nothing joins it from outside."""
        broken = self.broken(text)
        core = broken.strip()
        lead = broken[: broken.index(core)]
        return f"{lead}{MARK}{core}{MARK}{broken[len(lead) + len(core):]}" if core else broken

    def may_join(self, text: str) -> bool:
        """Whether a token could come about where the text meets what stands before or after it."""
        core = text.strip()
        if len(core) < self._longest and any(core in token for token in self.tokens):
            return bool(core)
        sizes = range(1, min(self._longest, len(core) + 1))
        return any(core[-size:] in self._beginnings or core[:size] in self._ends for size in sizes)

    def tokens_in(self, text: str) -> list[str]:
        """The control tokens that stand in a text, in order; broken ones do not."""
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
    texts: list[str] = []
    mapped(value, lambda text: texts.append(text) or text)
    return texts


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
