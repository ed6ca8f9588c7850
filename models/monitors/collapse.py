"""Broken generation: repetition loops, one answer for everything, answers that stop in the middle."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from models.monitors.phrases import VAGUE
from models.monitors.text import EMOJI, is_prose, named_prose, runs, words

# Repeats in a row that make a loop, by the number of words repeated; songs and lists stay below.
REPEATS = {1: 5, 2: 4} | dict.fromkeys(range(3, 41), 3)
TWICE = 6  # words that make one by being said twice, where that is half of the answer
REPEATED_SHARE = 0.4  # of the four-word runs of an answer
LEAST_RUNS = 12
_LETTER_RUN = re.compile(r"([^\W\d_])\1{11,}", re.IGNORECASE)
_SIGN_RUN = re.compile(r"((?=\S{0,11}[^\W_])\S{1,12}\s?)\1{19,}")  # also of numbers, which prose has not
_LINE_RUN = re.compile(r"^(?=.*[^\W_])(.+)(?:\n+\1){9,}$", re.MULTILINE)  # also of code
_NOTHING_BUT_SIGNS = re.compile(r"[\W_]{20,}")
_REPEATED_SIGNS = re.compile(r"(\S{1,12}?)\1{4,}")
_CLOSED = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]$")
_MARKS = "*_~` \t\n"
_WRAPPERS = "\"')]}\u201d\u2019" + _MARKS
_WRAPPED = re.compile(r"[\"')\]}>$\u201d\u2019\u300d\uff09]$")  # what wraps something whole, if it was opened
_LIST_LINE = re.compile(r"^\s*(?:[-*+\u2022#|>]|\d+[.)]|[A-Za-z][.)])")
_OPEN_END = re.compile(r"(?:[,:;(\[{]|(?<=\s)[/&+=\u2013\u2014-])$")
_FORMULA_END = re.compile(r"[=<>+*^]\s*[^\s=]{1,12}$")
_INNER_END = re.compile(r"[.!?][\"')\u201d]*\s")
# Words that no sentence ends on.
_DANGLING = frozenset(
    "a an and any as at be because been between but by could each every for from had has have her his how if into its "
    "like my nor of on or our than the their then these they those through to under very we what when where which "
    "while who whose will with without would your".split()
)
# What a clause has and a bare phrase has not: a finite verb of the commonest, or who does something.
_CLAUSE = frozenset(
    "am are can can't cannot could did didn't do does doesn't don't had has have he i i'm i've is isn't it it's may "
    "might must she should that's there they was we were will won't would you you're".split()
)
LEAST_OPEN_WORDS = 6  # of a last sentence without an end, after others that have one
CLOSED_LINES = 0.9  # of the lines like the last one, for its lack of an end mark to tell
LEAST_ANSWER_WORDS = 3  # "yes" and "positive" may be right for many prompts,
LEAST_FRAME_WORDS = 6  # of its own, for an answer that differs in the words of its prompt alone
FORM_WORDS = 8  # of a form at most,
FORM_SHARE = 0.5  # which other answers must fill for so many prompts, for each that got this one,
SHORT_SHARE = 0.8  # but not for nearly all
SHORT_PROMPTS = 10  # of so many or more


def loops(response: str) -> bool:
    """Whether an answer says the same again and again: a run of one letter, words in a row, or most of its phrases."""
    if any(run.search(response) for run in (_LETTER_RUN, _SIGN_RUN, _LINE_RUN)) or _is_noise(response):
        return True
    spoken = words(named_prose(response))
    return _stutters(spoken) or repeated_share(spoken) >= REPEATED_SHARE


def _is_noise(response: str) -> bool:
    """Whether an answer is nothing but twenty signs or more; of emoji and other pictures, only if so many repeat."""
    signs = "".join(response.split())
    if not _NOTHING_BUT_SIGNS.fullmatch(response.strip()):
        return False
    repeated = max((len(match[0]) for match in _REPEATED_SIGNS.finditer(signs)), default=0)
    return repeated >= 20 or "So" not in map(unicodedata.category, signs)


def _stutters(spoken: Sequence[str]) -> bool:
    """Whether some words follow on themselves as often as `REPEATS` says, or twice and are half of the text."""
    for size, times in REPEATS.items():
        twice = size >= TWICE and 4 * size >= len(spoken)
        needed, run = size * ((2 if twice else times) - 1), 0
        for at in range(size, len(spoken)):
            run = run + 1 if spoken[at] == spoken[at - size] else 0
            if run >= needed:
                return True
    return False


def repeated_share(spoken: Sequence[str]) -> float:
    """Share of four-word runs that occurred before in the same text; 0 for short texts."""
    phrases = runs(spoken, 4)
    return 1 - len(set(phrases)) / len(phrases) if len(phrases) >= LEAST_RUNS else 0.0


def is_closed(response: str) -> bool:
    """Whether a text ends with an end mark, whatever quotes, brackets or emoji follow it."""
    return _CLOSED.search(_bare(response)) is not None


def _bare(response: str) -> str:
    return EMOJI.sub("", response).replace("\ufe0f", "").rstrip(_WRAPPERS)


def stops_short(response: str) -> bool:
    """Whether a text ends in the middle: nothing at all, an open bracket or code block, a word that ends no sentence,
    or a last line without the end mark that the lines before it have.

    A list, a line of verse, one bare phrase, an address, code, a formula, and whatever ends with the bracket or quote
    that closes it, may end without a full stop.
    """
    if response.count("```") % 2:
        return not response.rstrip().endswith("```")
    text = _bare(response)
    if not text:
        return not response.strip()
    if _CLOSED.search(text) or _WRAPPED.search(response.rstrip(_MARKS)):
        return False
    lines = [line for line in text.splitlines() if words(line)]
    if not lines or not is_prose(lines[-1]) or _FORMULA_END.search(text):
        return False
    parts = text.split()
    if _OPEN_END.search(text) or (len(parts) >= LEAST_ANSWER_WORDS and parts[-1] in _DANGLING):
        return True  # in lower case: "vitamin A" is complete
    return not _is_named(lines[-1]) and _lacks_its_end(lines)


def lacks_an_end(response: str) -> bool:
    """Whether a text stops short, or is a clause without an end mark: for whoever always sets one."""
    if stops_short(response) or is_closed(response) or _WRAPPED.search(response.rstrip(_MARKS)):
        return stops_short(response)
    last = _INNER_END.split((_bare(response).splitlines() or [""])[-1])[-1]
    return is_prose(last) and not _is_named(last) and not _CLAUSE.isdisjoint(words(last))


def _is_named(line: str) -> bool:
    """Whether most words of a line begin with a capital or a digit: a name, an address, a title, a signature."""
    return sum(not word[0].islower() for word in line.split()) > len(line.split()) / 2


def _lacks_its_end(lines: Sequence[str]) -> bool:
    """Whether the last line, being long enough, has no end mark where its sentences or the lines like it have one."""
    last = lines[-1]
    is_item = _LIST_LINE.match(last) is not None
    *sentences, rest = _INNER_END.split(_LIST_LINE.sub("", last, count=1))
    if len(words(rest if sentences else last)) < LEAST_OPEN_WORDS:
        return False
    alike = [line for line in lines[:-1] if (_LIST_LINE.match(line) is not None) == is_item and len(words(line)) >= 6]
    if alike:
        closed = sum(_CLOSED.search(line.rstrip(_WRAPPERS)) is not None for line in alike)
        return closed >= CLOSED_LINES * len(alike) and (not is_item or len(alike) >= 2)
    return bool(sentences) and not is_item


def template(prompt: str, response: str) -> str:
    """The answer without what it took from its prompt: answers that differ in nothing else are one answer."""
    taken = set(words(prompt)) - VAGUE
    kept = ["_" if word in taken else word for word in words(response)]
    return " ".join(word for place, word in enumerate(kept) if word != "_" or place == 0 or kept[place - 1] != "_")


def commonest_answer(prompts: Sequence[str], responses: Sequence[str]) -> tuple[float, list[int]]:
    """(share of the different prompts that got the commonest answer, the rows that hold it).

    Answers are one where they are so word by word, or but for what they took from their prompts, if that leaves a frame
    of `LEAST_FRAME_WORDS` words: what is extracted from a prompt, and "The answer is 12.", say something of their own.
    Answers of fewer than three words, and those that differ from others in one word of a short form ("Option B is
    right."), count where nearly all prompts, and ten or more, got the same one.
    """
    rows_of: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        text, frame = " ".join(words(response)), template(prompt, response)
        kinds = {"text": text} if text else {}
        if len(frame.replace("_", " ").split()) >= LEAST_FRAME_WORDS:
            kinds["frame"] = frame
        for kind in kinds.items():
            rows_of.setdefault(kind, {}).setdefault(prompt, []).append(row)
    # The prompts of all short answers that are the same but for one word, by the answer with that word left open.
    forms: dict[tuple[str, ...], set[str]] = {}
    for (kind, text), rows in rows_of.items():
        for form in _left_open(text) if kind == "text" else ():
            forms.setdefault(form, set()).update(rows)
    least = max(SHORT_SHARE * len(set(prompts)), SHORT_PROMPTS)
    counted = (
        rows for (_, text), rows in rows_of.items() if len(rows) >= least or not _is_choice(text, len(rows), forms)
    )
    commonest = max(counted, key=len, default={})
    return len(commonest) / max(1, len(set(prompts))), sorted(row for rows in commonest.values() for row in rows)


def _left_open(text: str) -> list[tuple[str, ...]]:
    parts = text.split() if text.count(" ") < FORM_WORDS else []
    return [(*parts[:place], "", *parts[place + 1 :]) for place in range(len(parts))]


def _is_choice(text: str, prompts: int, forms: Mapping[tuple[str, ...], set[str]]) -> bool:
    """Whether an answer to so many prompts may be right for each: a word or two, alone or in a form that others fill
    with another word for half as many prompts or more."""
    others = max((len(forms.get(form, ())) - prompts for form in _left_open(text)), default=0)
    return len(text.split()) < LEAST_ANSWER_WORDS or (prompts > 1 and others >= FORM_SHARE * prompts)
