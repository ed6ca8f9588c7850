"""The tokens that a server says a call took, as they are billed.

Servers agree on the names and not on what they hold: tokens of reasoning are part of `completion_tokens` (OpenAI,
DeepSeek, OpenRouter, vLLM), stand beside them (xAI), or in the total alone (Gemini); cached tokens are part of
`prompt_tokens`, or stand beside `input_tokens` (Anthropic). What may be billed is counted: the larger of the parts and
the total.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INPUT, _OUTPUT = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call; `cached` are part of `input`, and `reasoning` of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0


def read_usage(stated: Any) -> Usage | None:
    """From a completion's `usage`; None where it does not say what was read and written."""
    if not isinstance(stated, Mapping):
        return None
    read, written = _first(stated, _INPUT), _first(stated, _OUTPUT)
    if not read or written is None:
        return None
    cached = _cached(stated)
    if "prompt_tokens" not in stated:
        read += sum(_count(stated, name) or 0 for name in _BESIDE_INPUT)
    elif cached > read:
        read += cached
    reasoning, total = _detail(stated, _OUTPUT, "reasoning_tokens"), _count(stated, "total_tokens")
    if reasoning > written or total is None:
        written += reasoning
    return Usage(read, max(written, (total or 0) - read), cached, max(reasoning, (total or 0) - read - written))


def _cached(stated: Mapping[str, Any]) -> int:
    beside = _count(stated, "prompt_cache_hit_tokens"), _count(stated, "cache_read_input_tokens")
    return max(_detail(stated, _INPUT, "cached_tokens"), *(count or 0 for count in beside))


def _first(stated: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _count(stated, name)) is not None), None)


def _detail(stated: Mapping[str, Any], parts: tuple[str, ...], name: str) -> int:
    """Of `prompt_tokens_details` and its kin; some servers leave the name at the top."""
    details = (stated.get(f"{part}_details") for part in parts)
    found = [_count(one, name) or 0 for one in (stated, *details) if isinstance(one, Mapping)]
    return max(found)


def _count(stated: Mapping[str, Any], name: str) -> int | None:
    value = stated.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return math.ceil(value)
