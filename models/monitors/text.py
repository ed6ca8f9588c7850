"""Reading texts: words, sentences, runs of words. Shared by all monitors of text."""

import re
from collections.abc import Sequence

# Scripts without spaces between words count by the character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['\u2019][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"')\]\u201d]*\s+|\n+")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_FORMULA = re.compile(r"\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)|\$[^$\n]+\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL)
_SIGN = re.compile(r"[=<>{}()\[\]\\$_^|/+%&@~#;\u2200-\u22ff]")
SIGNS_DENSITY = 0.1  # of a line's characters, from where on it is code, a formula or a table's row
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
    """The text without code, whose signs and repeats mean something else."""
    return _CODE.sub(" ", text)


def is_signs(line: str) -> bool:
    """Whether a line is code, a formula or a row of a table rather than a sentence."""
    line = line.strip()
    return len(_SIGN.findall(line)) >= SIGNS_DENSITY * max(1, len(line))


def sentences_only(text: str) -> str:
    """The prose, with one made-up word for each formula and each line of code, formulas or tables: equal ones share it."""
    names: dict[str, str] = {}

    def name(signs: str) -> str:
        return f" formula{names.setdefault(' '.join(signs.split()), str(len(names)))} "

    lines = _FORMULA.sub(lambda found: name(found[0]), prose(text)).splitlines()
    return "\n".join(name(line) if is_signs(line) else line for line in lines if _WORD.search(line))


def runs(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All n-grams, in order."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))
