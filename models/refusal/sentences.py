"""An answer cut into sentences and list items, with what is quoted, coded or said by others kept apart."""

import re
from dataclasses import dataclass

HEAD, TAIL = 4000, 2000  # characters read of an answer longer than both together: its beginning and its end
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
_SENTENCE = re.compile(
    r"(?:^[ \t>*]*\d{1,2}[.)]\s)?[^\n]+?(?:(?<!\b(?:Mr|Ms|Dr|St|vs))[.!?。！？]+[\"')\]*_”]*(?=\s|$|[A-Z])|(?=\n)|$)",
    re.MULTILINE,
)
_ITEM = re.compile(r"^[\s>]*(?:[-*•+|]|\d{1,2}[.)])(?=\s)\s*")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_PLAIN_MARKS = str.maketrans({"’": "'", "‘": "'", "´": "'", "*": None, "_": None, "#": None, "~": None})
_WRITTEN_OUT = (
    (re.compile(r"\b(?:can not|can'?t)\b"), "cannot"),
    (re.compile(r"\bwon'?t\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(do|does|did|is|are|would|could|should)nt\b"), r"\1 not"),
    (re.compile(r"\bi'?m\b"), "i am"),
    (re.compile(r"\blet's\b"), "let us"),
    (re.compile(r"'(re|ll|ve)\b"), lambda match: {"re": " are", "ll": " will", "ve": " have"}[match[1]]),
    (re.compile(r"\b(i|we|you|he|she|they)'d\b"), r"\1 would"),
    (re.compile(r"\b(it|that|there|here|what)'s\b"), r"\1 is"),
)


@dataclass(frozen=True)
class Sentence:
    """One sentence or list item.

    `plain`: in lower case, contractions written out, quotations blanked. `is_voiced`: quoted, code, in a letter or in a
    dialogue, so that "I cannot" in it is not the answerer's.
    """

    plain: str
    words: int
    is_item: bool
    is_voiced: bool


def sentences(response: str) -> list[Sentence]:
    """Those of an answer that hold a word; of a very long answer, those of its beginning and end."""
    text = response if len(response) <= HEAD + TAIL else f"{response[:HEAD]}\n{response[-TAIL:]}"
    speakers = list(_SPEAKER.finditer(text))
    voiced = [match for pattern in (_FENCE, _QUOTED, _LETTER) for match in pattern.finditer(text)]
    mask = bytearray(len(text))
    for match in voiced + (speakers if len(speakers) >= _SPEAKERS else []):
        mask[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    blanked = _QUOTED.sub(lambda match: match[0][0] + "x" * (len(match[0]) - 2) + match[0][-1], text)
    parts = [_sentence(match, mask) for match in _SENTENCE.finditer(blanked)]
    return [sentence for sentence in parts if sentence.words]


def _sentence(match: re.Match[str], voiced: bytearray) -> Sentence:
    start, end = match.span()
    item = _ITEM.match(match[0])
    body = match[0][item.end() :] if item else match[0]
    is_voiced = voiced.count(1, start, end) > 0.6 * (end - start)
    return Sentence(written_out(body), len(_WORD.findall(body)), item is not None, is_voiced)


def written_out(text: str) -> str:
    """Lower case, straight apostrophes, contractions written out, no Markdown emphasis, single spaces."""
    text = text.lower().translate(_PLAIN_MARKS)
    for pattern, replacement in _WRITTEN_OUT:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())
