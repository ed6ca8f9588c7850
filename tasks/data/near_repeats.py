"""Texts that nearly repeat a held-out prompt: word shingles, compared as sets.

Resemblance (Jaccard) finds a prompt asked in slightly other words, containment one that stands inside a longer text:
Broder, On the resemblance and containment of documents, 1997.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import regex  # whose words keep their marks: `re` cuts Hindi and Thai at every vowel sign

from tasks.config.data import NearRepeatsConfig

# Scripts that write no spaces between words: each sign counts as a word.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Signs by which questions differ: 3 + 4 is not 3 * 4, 1.5 not 15, C# not C. All others are punctuation.
SIGN = r"[\p{Sm}\p{Sc}*/%]|(?<=\p{L})#|(?<=\d\s?)[-.](?=\s?\d)"
WORD = regex.compile(rf"[{UNSPACED}]|(?!\p{{M}})[^\W{UNSPACED}]+|{SIGN}")
Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Repeat:
    """An evaluation prompt that a text nearly repeats; `share` is what `measure` says, in [0, 1]."""

    name: str
    measure: Literal["resemblance", "containment"]
    share: float


def words_of(text: str) -> list[str]:
    """The words of a text; case, punctuation and the ways to write one letter make no difference."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def shingles_of(turns: Iterable[str], words: int) -> Shingles:
    """All runs of `words` words, none across two turns; a turn with fewer words is one run."""
    spoken = filter(None, map(words_of, turns))
    return frozenset(
        tuple(turn[i : i + words]) for turn in spoken for i in range(max(1, len(turn) - words + 1))
    )


def user_turns(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the user says in a row with `prompt`, or else `messages`, turn by turn."""
    return tuple(turn["content"] for turn in row.get("prompt") or row["messages"] if turn["role"] == "user")


class NearRepeats:
    """Held-out prompts, to be asked which of them a text nearly repeats.

    prompts: name -> what the user says in it, turn by turn.

    A text A nearly repeats a prompt B when they resemble each other, |A ∩ B| / |A ∪ B| >= cfg.resemblance, or when A
    contains B, |A ∩ B| / |B| >= cfg.containment (asked only for prompts of cfg.contained_words words or more: three
    common words stand in many texts). Both imply an overlap of at least a known part of B, so one of B's
    |B| - overlap + 1 rarest shingles must be in A: only these are indexed, and the answer is exact all the same.
    """

    def __init__(self, cfg: NearRepeatsConfig, prompts: Mapping[str, Sequence[str]]):
        self._cfg = cfg
        self._shingles = {name: shingles_of(turns, cfg.words) for name, turns in prompts.items()}
        self._containable = {
            name for name, turns in prompts.items() if sum(len(words_of(turn)) for turn in turns) >= cfg.contained_words
        }
        counts = Counter(shingle for shingles in self._shingles.values() for shingle in shingles)
        self._index: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name, shingles in self._shingles.items():
            rarest_first = sorted(shingles, key=lambda shingle: (counts[shingle], shingle))
            for shingle in rarest_first[: len(shingles) - self._least_overlap(name) + 1]:
                self._index[shingle].append(name)

    def _least_overlap(self, name: str) -> int:
        """The overlap without which a text neither resembles nor contains the prompt."""
        share = self._cfg.resemblance
        if name in self._containable:
            share = min(share, self._cfg.containment)
        # As a fraction of what is written in params: 0.7 * 10 is above 7 in floating point.
        return max(1, ceil(Fraction(str(share)) * len(self._shingles[name])))

    def find(self, turns: Iterable[str]) -> list[Repeat]:
        """The prompts that the text nearly repeats, the one it repeats most first."""
        shingles = shingles_of(turns, self._cfg.words)
        candidates = {name for shingle in shingles for name in self._index.get(shingle, ())}
        repeats = filter(None, (self._compare(shingles, name) for name in candidates))
        return sorted(repeats, key=lambda repeat: (-repeat.share, repeat.name))

    def _compare(self, shingles: Shingles, name: str) -> Repeat | None:
        prompt = self._shingles[name]
        overlap = len(shingles & prompt)
        resemblance = overlap / (len(shingles) + len(prompt) - overlap)
        if resemblance >= self._cfg.resemblance:
            return Repeat(name, "resemblance", resemblance)
        contained = overlap / len(prompt)
        if name in self._containable and contained >= self._cfg.containment:
            return Repeat(name, "containment", contained)
        return None


class HeldOut:
    """Rows of a split that is held out, to be asked whether another row nearly repeats one of them.

    Rows of one root are one question by what is said of them, and no matter of this.
    """

    def __init__(self, cfg: NearRepeatsConfig, rows: Iterable[Mapping[str, Any]]):
        questions = dict.fromkeys((user_turns(row), row["root"]) for row in rows)
        self._roots = {str(number): root for number, (_, root) in enumerate(questions)}
        self._near = NearRepeats(cfg, {str(number): turns for number, (turns, _) in enumerate(questions)})

    def is_repeated_by(self, row: Mapping[str, Any]) -> bool:
        return any(self._roots[repeat.name] != row["root"] for repeat in self._near.find(user_turns(row)))
