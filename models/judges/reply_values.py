"""What one value of a reply means: which of two responses it prefers, or how it rates one."""

import re
from typing import Any

PREFERENCES = {"a": 1.0, "b": 0.0, "tie": 0.5, "draw": 0.5}
LOWEST, HIGHEST = 1, 5
NOUN = "(?:candidate|response|answer|assistant|option|model|output|summary)"
SUBJECT = rf"(?:(?:(?:the )?{NOUN}|a(?= (?:tie|draw))|it(?: is|'s) a)[ _-])?"
ORDINAL = rf"(?:the (?:first|second)\b(?: (?:one|{NOUN}))?|(?:first|second) (?:one|{NOUN}))"
EQUAL = rf"(?:(?:they|both|both {NOUN}s) are (?:equally good|equal|tied))"
COMPARED = r"(?:[AB][ \t]*(?:<<?|==?|>>?)[ \t]*[AB])"
BETTER = (
    r"(?:(?:clearly|slightly|much|significantly|marginally|far|somewhat|definitely|strongly|a bit|overall|the) )*"
    rf"(?:better|best|stronger|superior|preferred|preferable|winner)(?: (?:one|{NOUN}))?"
)
REMARK = rf"[*_`]*[ \t]*\({BETTER}\)"
VALUE = (
    rf"({SUBJECT}[\"'*_`(\[]*(?:{COMPARED}|{ORDINAL}|{EQUAL}|[A-Za-z]+|\d+(?:\.\d+)?))(?:[ \t]*(?:/|out of)[ \t]*5)?"
    rf"(?:{REMARK})?"
)
SCORES = re.compile(r"(\d+(?:\.\d+)?)[ \t,]+(\d+(?:\.\d+)?)")  # JudgeLM's: of the first and of the second, of 10


def preference(value: Any) -> float | None:
    """A = 1, tie = 0.5, B = 0; None for what names none of them."""
    if not isinstance(value, str):
        return None
    plain = re.sub(REMARK, "", value.lower())
    if match := re.fullmatch(r"\W*([ab])\s*([<=>])\2?\s*([ab])\W*", plain):
        first, sign, second = match.groups()
        return None if first == second else 0.5 if sign == "=" else PREFERENCES[first if sign == ">" else second]
    if match := SCORES.fullmatch(plain):
        first, second = map(float, match.groups())
        is_score = max(first, second) <= 10 and {first, second} != {1, 2}  # which may be ranks
        return 0.5 + 0.5 * ((first > second) - (first < second)) if is_score else None
    words = " ".join(re.findall("[a-z0-9]+", plain))
    if named := re.fullmatch(rf"(?:the )?(?:{NOUN} ([12])|(first|second)(?: (?:one|{NOUN}))?)", words):
        return PREFERENCES["a" if named[1] == "1" or named[2] == "first" else "b"]
    plain = re.sub(f"^{SUBJECT}", "", re.sub("^it s ", "it is ", words))
    return PREFERENCES["tie"] if re.fullmatch(EQUAL, words) else PREFERENCES.get(plain)


def rating(value: Any) -> float | None:
    """From 1 to 5, mapped to [0, 1]; None for what is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return (number - LOWEST) / (HIGHEST - LOWEST) if number.is_integer() and LOWEST <= number <= HIGHEST else None
