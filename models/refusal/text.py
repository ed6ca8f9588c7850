"""An answer cut into units, sentences and list items, with what is quoted, coded or said by others kept apart."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

HEAD, TAIL = 4000, 2000  # characters read of an answer longer than both together: its beginning and its end
STEM = 5  # letters by which words are compared
Span = tuple[int, int]

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# Single marks quote where no letter stands before the first or after the last; within a word they are apostrophes.
_QUOTED = re.compile(
    r'"[^"\n]{2,600}"|“[^”\n]{2,600}”|«[^»\n]{2,600}»|`[^`\n]{1,300}`'
    r"|(?<!\w)['‘](?=\w)(?:[^'‘’\n]|(?<=\w)['’](?=\w)){2,300}['’](?!\w)"
)
_SPEAKER = re.compile(r"^[ \t]*[*_]*[A-Z][\w .'-]{0,24}(?: ?\([^)\n]{1,40}\))?:[*_]*[ \t]+\S.*$", re.MULTILINE)
_SPEAKERS = 3  # lines with a speaker's name from which a text is a dialogue
_LETTER = re.compile(
    r"^[ \t*_>]*(?:(?:subject|betreff): *\S.*|(?:dear|hi|hello)\b(?! (?:user|friend|there))[^\n!?]{0,40},[ \t]*)$"
    r"(?:\n.*){2,}?(?:\n[ \t*_>]*(?:(?:\w+ ){0,2}regards|(?:yours )?(?:sincerely|truly|faithfully)|best|cheers|love)\b"
    r".{0,40}(?:\n.{0,60}){0,2}|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
# A sentence ends with its mark; so does a clause before "but here is ...", which may answer what the clause declined.
_UNIT = re.compile(
    r"(?:^[ \t>*]*\d{1,2}[.)]\s)?[^\n]+?(?:(?<!\b[A-Z])(?<!\b(?:Mr|Ms|Dr|St|vs))[.!?]+[\"')\]*_”]*(?=\s|$|[A-Z])"
    r"|[。！？]+|,(?= (?:but|however|though),? (?:here|I can (?!not)|I could|if|in general|generally|these|there|"
    r"the|what|within|for|in)\b| but (?!I\b|it\b|its\b|that\b|this\b|not\b|we\b|my\b)\w)"
    r"|(?=\n)|$)",
    re.MULTILINE,
)
_MARKER = re.compile(r"^[\s>]*(?:[-*•+|]|\d{1,2}[.)])(?=\s)\s*(?:\d{1,2}[.)]\s)?")
_DETAIL = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}|\d+")  # a name within a sentence, a number
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_PLAIN_MARKS = str.maketrans({"’": "'", "‘": "'", "´": "'", "*": None, "_": None, "#": None, "~": None})
_MAY_CONTRACT = re.compile(r"'|\b(?:can not|cant|wont|\w+nt|im)\b")
_WRITTEN_OUT = (
    (re.compile(r"\b(?:can not|can'?t)\b"), "cannot"),
    (re.compile(r"\bwon'?t\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(do|does|did|is|are|would|could|should)nt\b"), r"\1 not"),
    (re.compile(r"\bi'?m\b"), "i am"),
    (re.compile(r"'(re|ll|ve)\b"), lambda match: {"re": " are", "ll": " will", "ve": " have"}[match[1]]),
    (re.compile(r"\b(i|we|you|he|she|they)'d\b"), r"\1 would"),
    (re.compile(r"\b(it|that|there|here|what|let)'s\b"), r"\1 is"),
)


@dataclass(frozen=True)
class Unit:
    """One sentence or list item: characters `start` to `end` of the answer.

    `plain`: in lower case, contractions written out, quotations blanked. `stems`: the first letters of its words.
    `details`: names and numbers in it. `is_voiced`: quoted, in a letter or in a dialogue, so that "I cannot" in it is
    not the answerer's.
    """

    start: int
    end: int
    plain: str
    stems: frozenset[str]
    words: int
    details: int
    is_item: bool
    is_voiced: bool


@dataclass(frozen=True)
class Answer:
    """An answer's units in order, and the number of words in its code blocks."""

    units: tuple[Unit, ...]
    code_words: int


def read(response: str) -> Answer:
    """Cuts `response` into units. The middle of an answer longer than `HEAD` + `TAIL` characters is left out."""
    units: list[Unit] = []
    code_words = 0
    for offset, text in _pieces(response):
        fences = _spans(_FENCE, text)
        code_words += sum(len(_WORD.findall(text[start:end])) for start, end in fences)
        text = _blanked(text, fences, " ")
        voiced = _voiced(text)
        blanked = _blanked(text, [(start + 1, end - 1) for start, end in _spans(_QUOTED, text)], "x")
        units += (unit for match in _UNIT.finditer(blanked) if (unit := _unit(match, text, voiced, offset)))
    return Answer(tuple(units), code_words)


def is_blank(response: str) -> bool:
    """Whether the answer says nothing: no letter, digit or symbol, an emoji being one."""
    return not any(unicodedata.category(character)[0] in "LNS" for character in response)


def written_out(text: str) -> str:
    """Lower case, straight apostrophes, contractions written out, no Markdown emphasis, single spaces."""
    text = text.lower().translate(_PLAIN_MARKS)
    if _MAY_CONTRACT.search(text):
        for pattern, replacement in _WRITTEN_OUT:
            text = pattern.sub(replacement, text)
    return " ".join(text.split())


def stems_of(text: str) -> frozenset[str]:
    """The first `STEM` letters of the words of a text as `written_out` leaves it."""
    return frozenset(word[:STEM] for word in _WORD.findall(text))


def _pieces(response: str) -> Iterator[tuple[int, str]]:
    if len(response) <= HEAD + TAIL:
        yield 0, response
    else:
        yield 0, response[:HEAD]
        yield len(response) - TAIL, response[-TAIL:]


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [match.span() for match in pattern.finditer(text)]


def _blanked(text: str, spans: list[Span], filler: str) -> str:
    for start, end in spans:
        text = text[:start] + filler * (end - start) + text[end:]
    return text


def _voiced(text: str) -> bytearray:
    """1 for every character within a quotation, a letter or a dialogue."""
    speakers = _spans(_SPEAKER, text)
    mask = bytearray(len(text))
    for start, end in _spans(_QUOTED, text) + _spans(_LETTER, text) + (speakers if len(speakers) >= _SPEAKERS else []):
        mask[start:end] = b"\1" * (end - start)
    return mask


def _unit(match: re.Match[str], text: str, voiced: bytearray, offset: int) -> Unit | None:
    """The unit of a match, or None where it holds no word."""
    start, end = match.span()
    marker = _MARKER.match(match[0])
    body = match[0][marker.end() :] if marker else match[0]
    words = len(_WORD.findall(text, end - len(body), end))
    if not words:
        return None
    plain = written_out(body)
    details = len(_DETAIL.findall(body))
    is_voiced = voiced.count(1, start, end) > 0.6 * (end - start)
    return Unit(start + offset, end + offset, plain, stems_of(plain), words, details, marker is not None, is_voiced)
