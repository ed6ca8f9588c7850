"""Broken generation: repetition loops, one answer for everything, answers that stop in the middle."""

import re
from collections.abc import Iterable, Sequence

from models.monitors.phrases import VAGUE
from models.monitors.text import EMOJI, prose, runs, words

# Repeats in a row that make a loop, by the number of words repeated; songs and lists stay below.
REPEATS = {1: 5, 2: 4, 3: 3, 4: 3, 5: 3} | dict.fromkeys(range(6, 41), 2)
REPEATED_SHARE = 0.4  # of the four-word runs of an answer
LEAST_RUNS = 12
_LETTER_RUN = re.compile(r"([^\W\d_])\1{7,}", re.IGNORECASE)
_CLOSED = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]$")
_WRAPPERS = "\"')]}\u201d\u2019*_~` \t\n"
_LIST_LINE = re.compile(r"^\s*(?:[-*+\u2022#|>]|\d+[.)]|[A-Za-z][.)])")
_OPEN_END = re.compile(r"[,:;(\[{/&+=\u2013\u2014-]$")
_INNER_END = re.compile(r"[.!?][\"')\u201d]*\s")
# Words that no sentence ends on.
_DANGLING = frozenset(
    "a an and any as at be because been between but by could each every for from had has have her his how if into its "
    "like my nor of on or our than the their then these they those through to under very we what when where which "
    "while who whose will with without would your".split()
)
LEAST_OPEN_WORDS = 4  # of a last sentence without an end, after others that have one
CLOSED_LINES = 0.9  # of the lines like the last one, for its lack of an end mark to tell
LEAST_ANSWER_WORDS = 3  # "yes" and "positive" may be right for many prompts,
SHORT_SHARE = 0.8  # but not for nearly all
SHORT_PROMPTS = 10  # of so many or more


def loops(response: str) -> bool:
    """Whether an answer says the same again and again: a run of one letter, words in a row, or most of its phrases."""
    said = words(prose(response))
    return _LETTER_RUN.search(response) is not None or _stutters(said) or repeated_share(said) >= REPEATED_SHARE


def _stutters(said: Sequence[str]) -> bool:
    """Whether some words follow on themselves as often as `REPEATS` says."""
    for size, times in REPEATS.items():
        needed, run = size * (times - 1), 0
        for at in range(size, len(said)):
            run = run + 1 if said[at] == said[at - size] else 0
            if run >= needed:
                return True
    return False


def repeated_share(said: Sequence[str]) -> float:
    """Share of four-word runs that occurred before in the same text; 0 for short texts."""
    found = runs(said, 4)
    return 1 - len(set(found)) / len(found) if len(found) >= LEAST_RUNS else 0.0


def is_closed(response: str) -> bool:
    """Whether a text ends with an end mark, whatever quotes, brackets or emoji follow it."""
    return _CLOSED.search(_bare(response)) is not None


def _bare(response: str) -> str:
    return EMOJI.sub("", response).replace("\ufe0f", "").rstrip(_WRAPPERS)


def stops_short(response: str) -> bool:
    """Whether a text ends in the middle: nothing at all, an open bracket or code block, a word that ends no sentence,
    or a last line without the end mark that the lines before it have.

    A list, a line of verse or one bare phrase may end without a full stop.
    """
    if response.count("```") % 2:
        return True
    text = _bare(response)
    if not text:
        return not response.strip()
    if _CLOSED.search(text):
        return False
    lines = [line for line in text.splitlines() if words(line)]
    if not lines:
        return False
    if _OPEN_END.search(text) or words(lines[-1])[-1] in _DANGLING:
        return True
    return _lacks_its_end(lines)


def _lacks_its_end(lines: Sequence[str]) -> bool:
    """Whether the last line, being long enough, has no end mark where its sentences or the lines like it have one."""
    last = lines[-1]
    is_item = _LIST_LINE.match(last) is not None
    ends = [match.end() for match in _INNER_END.finditer(_LIST_LINE.sub("", last, count=1))]
    rest = last if not ends else _LIST_LINE.sub("", last, count=1)[ends[-1] :]
    if len(words(rest)) < LEAST_OPEN_WORDS:
        return False
    alike = [line for line in lines[:-1] if (_LIST_LINE.match(line) is not None) == is_item and len(words(line)) >= 6]
    closed = sum(_CLOSED.search(line.rstrip(_WRAPPERS)) is not None for line in alike)
    if alike:
        return closed >= CLOSED_LINES * len(alike) and (not is_item or len(alike) >= 2)
    return bool(ends) and not is_item


def template(prompt: str, response: str) -> str:
    """The answer without what it took from its prompt: answers that differ in nothing else are one answer."""
    taken = set(words(prompt)) - VAGUE
    kept = ["_" if word in taken else word for word in words(response)]
    return " ".join(word for place, word in enumerate(kept) if word != "_" or place == 0 or kept[place - 1] != "_")


def commonest_answer(prompts: Sequence[str], responses: Sequence[str]) -> tuple[float, list[int]]:
    """(share of the different prompts that got the commonest answer, the rows that hold it).

    Answers of fewer than three words count where nearly all prompts, and ten or more, got the same one.
    """
    asked: dict[str, dict[str, list[int]]] = {}
    short: dict[str, dict[str, list[int]]] = {}
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        said = words(response)
        if len(said) >= LEAST_ANSWER_WORDS:
            asked.setdefault(template(prompt, response), {}).setdefault(prompt, []).append(row)
        elif said:
            short.setdefault(" ".join(said), {}).setdefault(prompt, []).append(row)
    least = max(SHORT_SHARE * len(set(prompts)), SHORT_PROMPTS)
    commonest = max([*asked.values(), *(rows for rows in short.values() if len(rows) >= least)], key=len, default={})
    return len(commonest) / max(1, len(set(prompts))), _flat(commonest.values())


def _flat(groups: Iterable[list[int]]) -> list[int]:
    return sorted(row for group in groups for row in group)
