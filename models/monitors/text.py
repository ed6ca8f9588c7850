"""Reading texts: words, sentences, runs of words. Shared by all monitors of text."""

import re
from collections.abc import Sequence

# Scripts without spaces between words count by the character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['\u2019][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"')\]\u201d]*\s+|\n+")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_MATHEMATICS = re.compile(r"\\\[.*?\\\]|\\\(.*?\\\)|\$\$.*?\$\$|\$[^$\n]{1,300}\$", re.DOTALL)
_SYMBOL = re.compile(r"[=(){}\[\];<>/\\_+*^|&%#@~$]|\B-|-\B|\d")
_MARKUP = re.compile(r"\*\*|__|^\s*(?:[-*+\u2022>]|#+|\d+[.)])\s", re.MULTILINE)
SYMBOL_SHARE = 0.15  # of a line's signs, from which on it is no sentence
EMOJI = re.compile(
    "[\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001faff\u2600-\u26ff\u270a-\u270d\u2728\u2763\u2764"
    "\u2b50]"
)


def words(text: str) -> list[str]:
    """Lower-case words and numbers, punctuation dropped."""
    return [word.replace("\u2019", "'") for word in _WORD.findall(text.lower())]


def sentences(text: str) -> list[str]:
    """Sentences and lines that hold at least one word or emoji."""
    return [part.strip() for part in _SENTENCE_END.split(text) if _WORD.search(part) or EMOJI.search(part)]


def prose(text: str) -> str:
    """The text without code, mathematics and tables, whose signs and repeats mean something else."""
    plain = _MATHEMATICS.sub(" ", _CODE.sub(" ", text))
    return "\n".join(line for line in plain.split("\n") if is_prose(line))


def named_prose(text: str) -> str:
    """The text with a made-up word where `prose` leaves something out, so that what stood apart does not follow on
    itself: one for each formula, wherever it stands again, and one for each line of signs."""
    names: dict[str, str] = {}

    def name(signs: str) -> str:
        number = len(names)
        return f" {names.setdefault(signs, 'formula' + chr(ord('a') + number % 26) * (1 + number // 26))} "

    named = _MATHEMATICS.sub(lambda match: name(match[0]), _CODE.sub(" code ", text))
    return "\n".join(line if is_prose(line) else f"line{number}" for number, line in enumerate(named.split("\n")))


def is_prose(line: str) -> bool:
    """Whether a line is made of words, not of the signs and numbers of code, formulas or tables."""
    signs = re.sub(r"\s", "", _MARKUP.sub("", line))
    return len(_SYMBOL.findall(signs)) < SYMBOL_SHARE * max(len(signs), 1) and not line.lstrip().startswith("|")


def runs(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All n-grams, in order."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))
