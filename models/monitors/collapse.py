"""Broken generation: repetition loops, one answer for everything, answers that stop in the middle."""

import re
from collections.abc import Iterable, Mapping, Sequence

from models.monitors.phrases import VAGUE
from models.monitors.text import EMOJI, is_signs, runs, sentences_only, words

# Repeats in a row that make a loop, by the number of words repeated; songs, lists and derivations stay below.
REPEATS = {1: 5, 2: 4} | dict.fromkeys(range(3, 41), 3)
LEAST_TWICE = 6  # words that may be said twice in a row, unless that is
TWICE_SHARE = 0.5  # so much of the answer
REPEATED_SHARE = 0.4  # of the four-word runs of an answer
LEAST_RUNS = 12
SIGNS_REPEATS = 6  # in code, formulas and tables a loop goes on so often at least,
SIGNS_SHARE = 0.6  # over so much of the answer
_LETTER_RUN = re.compile(r"([^\W\d_])\1{7,}", re.IGNORECASE)
_CLOSED = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]$")
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_WRAPPERS = "\"')]}\u201d\u2019*_~` \t\n"
_LIST_LINE = re.compile(r"^\s*(?:[-*+\u2022#|>]|\d+[.)]|[A-Za-z][.)])")
_OPEN_END = re.compile(r"[,:(\[{\u2014]$|\s[/&+=\u2013-]$")
# A text may end with what these close, or on a line of signs, without an end mark.
_CLOSER = re.compile(r"[)\]}>|$\"'\u201d\u2019`]$")
_INNER_END = re.compile(r"[.!?][\"')\u201d]*\s")
# Words that no sentence ends on.
_DANGLING = frozenset(
    "a an and any as at be because been between but by could each every for from had has have her his how if into its "
    "like my nor of on or our than the their then these they those through to under very we what when where which "
    "while who whose will with without would your".split()
)
LEAST_OPEN_WORDS = 4  # in lower case, of a last sentence without an end, after others that have one
CLOSED_LINES = 0.9  # of the lines like the last one, for its lack of an end mark to tell
LEAST_ANSWER_WORDS = 3  # "yes" and "positive" may be right for many prompts,
SHORT_SHARE = 0.8  # but not for nearly all
SHORT_PROMPTS = 10  # of so many or more
FORM_WORDS = 8  # of a form at most: "The answer is 12."
FORM_SHARE = 0.5  # so many other prompts fill it otherwise, for each that an answer holds
LEAST_TEMPLATE_WORDS = 4  # that an answer did not take from its prompt,
TEMPLATE_SHARE = 0.5  # and as a share of its words, for the rest to be a template


def loops(response: str) -> bool:
    """Whether an answer says the same again and again: a run of one letter, words in a row, or most of its phrases.

    Code, formulas and tables repeat themselves by nature: there, a loop must take over the answer.
    """
    text = sentences_only(response)
    said, everything = words(text), words(response)
    return (
        _LETTER_RUN.search(text) is not None
        or any(_repeats(said, size, times) for size, times in REPEATS.items())
        or any(_repeats(said, size, 2, TWICE_SHARE) for size in REPEATS if size >= LEAST_TWICE)
        or any(_repeats(everything, size, SIGNS_REPEATS, SIGNS_SHARE) for size in REPEATS)
        or repeated_share(said) >= REPEATED_SHARE
    )


def _repeats(said: Sequence[str], size: int, times: int, share: float = 0.0) -> bool:
    """Whether a run of `size` words stands so many times in a row, over at least `share` of the words."""
    needed, run = max(size * times, share * len(said)) - size, 0
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
    """Whether a text ends as texts may: with an end mark, whatever quotes, brackets or emoji follow it, with a closing
    quote or bracket, or on a line of code, a formula, an address of the web or a table's row."""
    text = _bare(response)
    return bool(text) and (_ends(text) or (is_signs(text.splitlines()[-1]) and _OPEN_END.search(text) is None))


def _ends(text: str) -> bool:
    return _CLOSED.search(text.rstrip(_WRAPPERS)) is not None or _CLOSER.search(text) is not None


def _bare(response: str) -> str:
    """The text without emoji and without marks of emphasis at its end."""
    return EMOJI.sub("", response).replace("\ufe0f", "").rstrip("*_~ \t\n")


def breaks_off(response: str) -> bool:
    """Whether a text's own end shows that more was to come: nothing at all, an open bracket, a comma or a code block,
    or a word that ends no sentence."""
    text = _bare(response)
    if not text:
        return not response.strip()
    if len(_FENCE.findall(response)) % 2 and not _CLOSED.search(text.rstrip(_WRAPPERS)):
        return True
    if is_closed(response) or not words(text):
        return False
    if _OPEN_END.search(text):
        return True
    last = text.splitlines()[-1].split()
    return len(last) > 1 and last[-1] in _DANGLING  # in lower case: "vitamin A" is complete


def stops_short(response: str) -> bool:
    """Whether a text breaks off, or its last line lacks the end mark that the lines before it have.

    A list, a line of verse or one bare phrase may end without a full stop.
    """
    lines = [line for line in _bare(response).splitlines() if words(line)]
    return breaks_off(response) or (bool(lines) and not is_closed(response) and _lacks_its_end(lines))


def _lacks_its_end(lines: Sequence[str]) -> bool:
    """Whether the last line, being long enough, has no end mark where its sentences or the lines like it have one."""
    last = lines[-1]
    is_item = _LIST_LINE.match(last) is not None
    ends = [match.end() for match in _INNER_END.finditer(_LIST_LINE.sub("", last, count=1))]
    rest = last if not ends else _LIST_LINE.sub("", last, count=1)[ends[-1] :]
    if sum(word[0].islower() for word in rest.split()) < LEAST_OPEN_WORDS:
        return False
    alike = [line for line in lines[:-1] if (_LIST_LINE.match(line) is not None) == is_item and len(words(line)) >= 6]
    closed = sum(_CLOSED.search(line.rstrip(_WRAPPERS)) is not None for line in alike)
    if alike:
        return closed >= CLOSED_LINES * len(alike) and (not is_item or len(alike) >= 2)
    return bool(ends) and not is_item


def template(prompt: str, response: str) -> str:
    """The answer without what it took from its prompt: answers that differ in nothing else are one answer.

    The whole answer where little else is left: it was drawn out of the prompt.
    """
    taken, said = set(words(prompt)) - VAGUE, words(response)
    kept = ["_" if word in taken else word for word in said]
    own = len(kept) - kept.count("_")
    if own < max(LEAST_TEMPLATE_WORDS, TEMPLATE_SHARE * len(said)):
        return " ".join(said)
    return " ".join(word for place, word in enumerate(kept) if word != "_" or place == 0 or kept[place - 1] != "_")


def commonest_answer(prompts: Sequence[str], responses: Sequence[str]) -> tuple[float, list[int]]:
    """(share of the different prompts that got the commonest answer, the rows that hold it).

    An answer is its words, or its template. Answers of fewer than three words, and those that fill a short form as
    others do ("The answer is 12."), count where nearly all prompts, and ten or more, got the same one.
    """
    groups: dict[str, dict[str, list[int]]] = {}
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        for said in {" ".join(words(response)), template(prompt, response)} - {""}:
            groups.setdefault(said, {}).setdefault(prompt, []).append(row)
    forms = _forms(groups)
    least = max(SHORT_SHARE * len(set(prompts)), SHORT_PROMPTS)
    counted = [rows for said, rows in groups.items() if len(rows) >= least or not _is_short(said, groups, forms)]
    commonest = max(counted, key=len, default={})
    return len(commonest) / max(1, len(set(prompts))), _flat(commonest.values())


def _forms(groups: Mapping[str, Mapping[str, list[int]]]) -> dict[tuple[str, ...], set[str]]:
    """The prompts whose short answers are the same but for one word, by the answer with that word left open."""
    forms: dict[tuple[str, ...], set[str]] = {}
    for said, rows in groups.items():
        for form in _left_open(said):
            forms.setdefault(form, set()).update(rows)
    return forms


def _left_open(said: str) -> list[tuple[str, ...]]:
    parts = said.split()
    if not LEAST_ANSWER_WORDS <= len(parts) <= FORM_WORDS:
        return []
    return [(*parts[:place], "", *parts[place + 1 :]) for place in range(len(parts))]


def _is_short(said: str, groups: Mapping[str, Mapping[str, list[int]]], forms: Mapping[tuple[str, ...], set[str]]) -> bool:
    """Whether an answer says too little to be told from a right one: a word or two, or a word or two in a form that half
    as many other prompts fill otherwise."""
    rows = groups[said]
    others = max((len(forms[form]) - len(rows) for form in _left_open(said)), default=0)
    return len(said.split()) < LEAST_ANSWER_WORDS or others >= FORM_SHARE * len(rows)


def _flat(groups: Iterable[list[int]]) -> list[int]:
    return sorted(row for group in groups for row in group)
