"""The questions of the throughput race: pairs in both orders, and a rule that knows the better answer of each."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

BETTER, WORSE = "(the one that is right)", "(the one that is wrong)"
FILLER = "It stands where the family keeps it, and a little care keeps it in good order for years. " * 3
WEIGHTS = {"helpfulness": 3.0, "honesty": 1.0}


class Pair(NamedTuple):
    """A prompt, and two answers in the order shown; `first_is_better` is what a sound judge says."""

    number: int
    prompt: str
    first: str
    second: str
    first_is_better: bool


def ordered_pairs(count: int) -> list[Pair]:
    """`count` questions: each pair with its better answer shown first, then shown second."""
    pairs = []
    for number in range(count):
        prompt = f"Question {number // 2}: where does this household keep its things, and how does one care for them?"
        texts = (f"{FILLER}{BETTER}", f"{FILLER}{WORSE}")
        better_first = number % 2 == 0
        pairs.append(Pair(number, prompt, *(texts if better_first else reversed(texts)), better_first))
    return pairs


def rule(body: dict[str, Any]) -> str:
    """The better answer, in the form that the request asks for: TRL's judge wants one character, ours JSON."""
    user = body["messages"][-1]["content"]
    first = user.index(BETTER) < user.index(WORSE)
    if body.get("max_tokens") == 1:
        return "0" if first else "1"
    return json.dumps({name: "A" if first else "B" for name in WEIGHTS})


def number_of(user: str) -> str:
    """Which pair in which order a request asks about: "17+" with the better answer shown first, else "17-"."""
    pair = re.search(r"Question (\d+):", user).group(1)
    return pair + ("+" if user.index(BETTER) < user.index(WORSE) else "-")
