"""What a language model said, as a verdict or as ratings: JSON where it kept to the schema, else what it wrote instead.

A reply may quote the candidates, and a candidate may hold a verdict on itself. So a reply that holds two verdicts is
malformed, as is one whose only verdict stands in the middle of a sentence; and a verdict among other words that stands
in a candidate's text, too, and favours it, is that candidate's: whoever gets quoted wins nothing by it.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from models.judges.base import Ratings, Verdict, weighted_mean
from models.judges.reply_values import (
    BETTER, COMPARED, NOUN, ORDINAL, SCORES, SUBJECT, VALUE, preference, rating,
)  # fmt: skip

READER = 4  # stands in the key of every stored answer: raise it when replies are read differently
SHOWN = 200  # characters of a reply in a message
_THOUGHT = r"(?:\w+:)?(?:think|thinking|thought|reasoning)"
_REASONED = re.compile(
    rf"\A.*(?:</{_THOUGHT}>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>)", re.DOTALL | re.IGNORECASE
)
_UNFINISHED = re.compile(rf"<{_THOUGHT}>|\[THINK\]|◁think▷|<\|channel\|>analysis", re.IGNORECASE)
_QUOTED = re.compile(r"<<<BEGIN [^\n]*>>>.*?(?:<<<END [^\n]*>>>|\Z)|^[ \t]*>[^\n]*$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_SIGNS = {"。": ".", "→": ":", "⟦": "[[", "⟧": "]]", "≫": ">>", "≪": "<<", **dict.fromkeys("【「『〔〖《〈", "["),
          **dict.fromkeys("】」』〕〗》〉", "]"), **dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’", "'")}  # fmt: skip
_BEFORE, _AFTER = r"[ \t\"'*_`#([|-]*", r"[ \t\"'*_`)\]|.,;!]*"  # what may stand around a value that is all of its line
_SO = (
    r"(?:(?:so|therefore|thus|hence|overall|in conclusion|in my (?:opinion|view)),? )?"
    r"(?:I (?:think|believe|would say)(?: that)? )?"
)
_LABEL = (
    rf"{_SO}(?:my |the )?(?:final |overall )?(?:verdict|answer|judge?ment|decision|choice|winner|preference|conclusion"
    rf"|result|rating|score|preferred(?: {NOUN})?|more helpful(?: {NOUN})?|better (?:one|{NOUN}))"
)
_IS = r"[\"'*_`]*(?:[ \t]*[:=–—-]|[ \t]is:?)"
_NAMED = rf"(?:{SUBJECT}[*_`]*[AB]|{NOUN} [*_`]*[12]|{ORDINAL})[*_`]*"
_CHOOSE = r"I(?: would| will|'d|'ll)? (?:choose|pick|prefer|select|go with|go for|vote for)"
_OUTCOME = rf" (?:is {BETTER}|wins)\b(?: (?:than|over|to) {_NAMED})?"
_REASON = r"(?:,? (?:because|since)\b.*)?"
_LABELLED = re.compile(rf"{_BEFORE}{_LABEL}{_IS}[ \t\"'*_`(\[]*{VALUE}{_REASON}{_AFTER}", re.IGNORECASE)
_BARE = re.compile(f"{_BEFORE}{VALUE}{_AFTER}", re.IGNORECASE)
_ALONE = re.compile(rf"{_BEFORE}(A|B|tie|first|second){_AFTER}", re.IGNORECASE)
_WINS = re.compile(
    rf"{_BEFORE}{_SO}(?:{_CHOOSE} ({_NAMED})(?: (?:over|to) {_NAMED})?|({_NAMED}){_OUTCOME})"
    rf"{_REASON}{_AFTER}", re.IGNORECASE,
)
_WON = re.compile(rf"\b({_NAMED}){_OUTCOME}", re.IGNORECASE)  # within a sentence
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'*_`)]*[ \t]+")
_BRACKETED = re.compile(rf"\[\[[ \t]*({COMPARED}|(?:[A-Za-z]+ )?(?:[A-Za-z]+|\d))[ \t]*\]\]", re.IGNORECASE)
_INTRODUCED = re.compile(
    rf"{_BEFORE}(?:{_LABEL}{_IS}(?:(?! not | neither )[ \w\"'*:,])*|(?:\d[.)] )?{_NAMED}{_OUTCOME}[*_`]*:?) ?",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"[\"'*_`)$ \t]*(?:[.,;:!(\n–—-]|because\b|since\b|as\b)", re.IGNORECASE)
_RETRACTED = re.compile(r"\b(?:no|wait|actually|rather|instead|sorry|correction)\b", re.IGNORECASE)
_TAKEN_BACK = re.compile(  # what stands above such a line
    rf"^{_BEFORE}(?:(?:no|oh|hmm|but),? )?(?:wait|actually|correction|sorry|on (?:reflection|second thoughts?)"
    r"|(?:I|let me) (?:change|reconsider|correct|revise|take))\b", re.IGNORECASE | re.MULTILINE)  # fmt: skip
_END = re.compile(r"(?:\s*(?:<\|[\w ]+\|>|</s>|<(?:end_of_turn|eos)>|</think>))+\s*\Z")  # tokens let through
_TAG = r"(?:answer|verdict|judge?ment|result|output|decision|choice|winner|preference|preferred|rating|score)"
_TAGGED = re.compile(rf"<((?:final_)?{_TAG})>\s*{_BEFORE}{VALUE}{_AFTER}\s*</\1>", re.IGNORECASE)
_TAGS = re.compile(rf"</?(?:final_)?{_TAG}>", re.IGNORECASE)
_RESULT = re.compile(rf"\[RESULT\][ \t]*:?{_BEFORE}{VALUE}", re.IGNORECASE)  # Prometheus
_BOXED = re.compile(r"\\boxed\{(?:\\\w+\{)?([^{}\n]*)\}+")
_WORD = re.compile(rf"\b{COMPARED}(?!\w)|[^\W_]+", re.IGNORECASE)
_REASON_BELOW = re.compile(r"^#* *Reason\b", re.MULTILINE)  # PandaLM's, below a number that stands for a response
_KEY = re.compile(
    rf"(?:(?:final|overall|my)[ _-]*)?(?:{_TAG}|better|best|chosen|selected|pick|conclusion)(?:[ _-]*{NOUN})?"
)  # of JSON

Reader = Callable[[Any], float | None]  # None for a value that is no answer


class MalformedReply(ValueError):
    """A reply in which no answer to the question can be found, or more than one."""


class _Reading(NamedTuple):
    """One way to take a part of a reply. `meant`: it is the reply's own word, not part of a sentence; `source`: where
    it stands; `general`: it names no criterion, and holds for all."""

    values: Mapping[str, Any]
    meant: bool
    source: str
    general: bool = False


def read_verdict(text: str, weights: Mapping[str, float], texts: Sequence[str] = (), cut: bool = False) -> Verdict:
    """The preference for the response shown first: the mean over the criteria, by weight, of A = 1, tie = 0.5, B = 0.

    `texts`: those that were judged, in their order; `cut`: the reply ends where its tokens did. Raises MalformedReply
    when a criterion has no verdict, or two.
    """
    criteria = read_values(text, list(weights), preference, texts, cut)
    return Verdict(weighted_mean(criteria, weights), criteria=criteria, raw=text)


def read_ratings(text: str, criteria: Sequence[str], texts: Sequence[str] = (), cut: bool = False) -> Ratings:
    """Ratings from 1 to 5, mapped to [0, 1]. Raises MalformedReply when a criterion has none, or two."""
    return read_values(text, criteria, rating, texts, cut)


def read_values(
    text: str, criteria: Sequence[str], read: Reader, texts: Sequence[str] = (), cut: bool = False
) -> dict[str, float]:
    """Criterion -> value in [0, 1], where all parts of `text` that answer for every criterion say the same; what
    answers for all at once counts only where nothing answers for each.

    What a model thinks aloud before it answers is not read. Raises MalformedReply.
    """
    reply = _own_words(text)
    answers = [] if _UNFINISHED.search(reply) else _answers(reply, criteria, read, texts, cut)
    *_, taken_back = [None, *_TAKEN_BACK.finditer(reply)]
    if taken_back and not _answers(reply[taken_back.start() :], criteria, read, texts, cut):
        raise MalformedReply(f"an answer that is taken back in the reply {text[:SHOWN]!r}")
    if any(values != answers[0][0] for values, _ in answers):
        raise MalformedReply(f"more than one answer for {', '.join(criteria)} in the reply {text[:SHOWN]!r}")
    if not any(reading.meant for _, reading in answers):
        raise MalformedReply(f"no answer for {', '.join(criteria)} in the reply {text[:SHOWN]!r}")
    return answers[0][0]


def _answers(
    reply: str, criteria: Sequence[str], read: Reader, texts: Sequence[str], cut: bool
) -> list[tuple[dict[str, float], _Reading]]:
    cut &= len(reply) > 1  # a judge that may write one letter is always cut off after it
    whole = reply.rpartition("\n")[0] if cut else reply  # lines; the last one may say something else by its end
    readings = [*_objects(reply, criteria), *_lines(whole, criteria), *_general(whole, criteria, ends=not cut)]
    readable = [({name: read(_value_in(one.values.get(name))) for name in criteria}, one) for one in readings]
    answers = [(values, reading) for values, reading in readable if None not in values.values()]
    own = [one for one in answers if not _is_quoted(*one, reply, texts)]
    by_criterion = [one for one in own if not one[1].general]
    return by_criterion if any(reading.meant for _, reading in by_criterion) else own


def _value_in(value: Any) -> Any:
    """Of {"winner": "A", "reason": …} its verdict; None where it has two."""
    values = [one for key, one in value.items() if _KEY.fullmatch(key)] if isinstance(value, Mapping) else [value]
    return values[0] if len(values) == 1 else None


def is_unfinished(text: str) -> bool:
    """Whether a reply ends before it says anything: it is empty, or still thinks aloud."""
    return not text.strip() or bool(_UNFINISHED.search(_REASONED.sub("", text, count=1)))


def _own_words(text: str) -> str:
    """Without thoughts, quotations and fences, in plain brackets and letters."""
    return _plain(_FENCE.sub("", _QUOTED.sub("", _REASONED.sub("", _END.sub("", text), count=1)))).strip()


def _plain(text: str) -> str:
    """In plain brackets and letters, what is marked as the answer in one way."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(str.maketrans(_SIGNS))
    return _TAGS.sub("\n", _RESULT.sub(r"[[\1]]", _TAGGED.sub(r"[[\2]]\n", _BOXED.sub(r"[[\1]]", plain))))


def _is_quoted(values: Mapping[str, float], reading: _Reading, reply: str, texts: Sequence[str]) -> bool:
    """Whether its words stand in the text that it favours, and are not all of the reply. Who quotes changes signs,
    spaces and capitals."""
    source = _words(reading.source)
    if source == _words(reply).removeprefix("json "):
        return False
    favour = sum(values.values()) / len(values)
    favoured = texts[:1] if favour > 0.5 else texts[1:] if favour < 0.5 else ()
    return any(_stands_in(source, reading.source, _plain(text)) for text in favoured)


def _stands_in(source: str, written: str, text: str) -> bool:
    if " " in source:
        return f" {source} " in f" {_words(text)} "
    if "[[" in written:
        return "".join(written.split()).lower() in "".join(text.split()).lower()
    return source in map(_words, text.split("\n"))  # one word stands in any text; not on a line of its own


def _words(text: str) -> str:
    """In small letters, one space apart; "A > B" is one word."""
    return " ".join("".join(word.split()) for word in _WORD.findall(text.lower()))


def _objects(text: str, criteria: Sequence[str]) -> Iterator[_Reading]:
    """The JSON objects in `text`, nested ones as well; meant is one that ends the reply, or has its lines to itself.
    Others are quoted in a sentence."""
    decoder, place = json.JSONDecoder(object_pairs_hook=_contradictions_out), 0
    while (place := text.find("{", place)) >= 0:
        try:
            document, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        before, after = text[:place].rpartition("\n")[2], text[end:].strip(" \t\r`*.]")
        alone = re.fullmatch(r"[ \t`*[]*(?:json)?[ \t]*", before) and after.startswith("\n")
        for one in _mappings(document):
            meant = bool(alone or not after.strip())
            yield _Reading(one, meant, text[place:end])
            for key in filter(_KEY.fullmatch, one):
                yield _Reading(dict.fromkeys(criteria, one[key]), meant, text[place:end], general=True)
        place = end


def _contradictions_out(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object, its keys in small letters; a key that stands twice with different values has none."""
    merged: dict[str, Any] = {}
    for key, value in ((key.strip().lower(), value) for key, value in pairs):
        merged[key] = value if merged.get(key, value) == value else None
    return merged


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from _mappings(part)


def _lines(text: str, criteria: Sequence[str]) -> Iterator[_Reading]:
    """Lines `criterion: value` and nothing else on them, each way of taking one for every criterion that differs."""
    values = {
        name: list(re.finditer(
            rf"^{_BEFORE}(?:\d+[.)]{_BEFORE})?{re.escape(name)}[\"'*_`]*[ \t]*[:=|-][ \t\"'*_`(\[|]*{VALUE}{_AFTER}$",
            text, re.IGNORECASE | re.MULTILINE,
        ))
        for name in criteria
    }
    for take in (0, -1):
        taken = {name: matches[take] for name, matches in values.items() if matches}
        source = "\n".join(one[0].strip() for one in taken.values())
        yield _Reading({name: one[1] for name, one in taken.items()}, True, source)


def _general(text: str, criteria: Sequence[str], ends: bool) -> Iterator[_Reading]:
    """A value for all criteria: on a line of its own that says what it is, as the last line, or in double brackets.
    ends: the text's last line is where the reply ends."""
    lines = text.strip().split("\n")
    alone = {match[1].lower() for line in lines if (match := _ALONE.fullmatch(line))}  # "A", and below it "B": two
    for place, line in enumerate(lines):
        is_last = ends and place == len(lines) - 1 and not (_ALONE.fullmatch(line) and len(alone) > 1)
        for value, source in _of_line(line.strip(), is_last):
            yield _Reading(dict.fromkeys(criteria, value), True, source, general=True)
    if SCORES.fullmatch(lines[0]) or _REASON_BELOW.search(text):
        for value in (lines[0], f"response {lines[0]}"):
            yield _Reading(dict.fromkeys(criteria, value), True, lines[0], general=True)
    for match in _BRACKETED.finditer(text):
        before, after = text[: match.start()].rpartition("\n")[2], text[match.end() :]
        rest, alone = after.strip(" \t\r`*.$"), not before.strip(" \t*")
        introduced = _INTRODUCED.fullmatch(before) and _GOES_ON.match(after)
        meant = not rest.strip() or bool((alone and rest.startswith("\n")) or introduced)
        value = "tie" if match[1].lower() == "c" else match[1]  # MT-bench's third choice
        yield _Reading(dict.fromkeys(criteria, value), meant, match[0], general=True)


def _of_line(line: str, is_last: bool) -> Iterator[tuple[str, str]]:
    """(value, its words) of a line that is a verdict, begins with a sentence that is, or ends the reply with one. None
    where its sentences name different winners, or one takes back what another says."""
    if match := _LABELLED.fullmatch(line) or (is_last and _BARE.fullmatch(line)):
        yield match[1], line
        return
    sentences = _SENTENCE_END.split(line)
    own = [sentences[0]] if _LABELLED.fullmatch(sentences[0]) else []
    own += sentences[-1:] if is_last and sentences[-1] not in own else []
    won = {preference(match[1]) for match in _WON.finditer(line)}
    for sentence in own:
        match = _LABELLED.fullmatch(sentence) or _WINS.fullmatch(sentence)
        value = match and next(filter(None, match.groups()))
        if value and won <= {preference(value)} and not _RETRACTED.search(line):
            yield value, sentence
