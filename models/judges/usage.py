"""The tokens that a server says a call took, as they are billed.

Servers agree on the names and not on what they hold: tokens of reasoning are part of `completion_tokens` (OpenAI,
DeepSeek, OpenRouter, vLLM), stand beside them (xAI), or in the total alone (Gemini); cached tokens and those written to
a cache are part of `prompt_tokens`, or stand beside `input_tokens` (Anthropic). What may be billed is counted: the
larger of the parts and the total.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INPUT, _OUTPUT = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_WRITTEN_TO_CACHE = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call; `cached` and `written_to_cache` are part of `input`, and `reasoning` of `output`.

    `billed`: money that a router says it charged, and its provider where the key is the provider's own (OpenRouter's
    `cost`, Perplexity's `cost.total_cost`, DeepInfra's `estimated_cost`); 0 where nobody says.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    written_to_cache: int = 0
    billed: float = 0.0


def read_usage(stated: Any) -> Usage | None:
    """From a completion's `usage`; None where it does not say what was read and written."""
    if not isinstance(stated, Mapping):
        return None
    read, written, total = _first(stated, _INPUT), _first(stated, _OUTPUT), _count(stated, "total_tokens")
    if read and written is None and total:  # Gemini, of an answer that is all thoughts
        written = max(0, total - read)
    if not read or written is None:
        return None
    cached, to_cache = (_detail(stated, _INPUT, *names) for names in (_CACHED, _WRITTEN_TO_CACHE))
    if "prompt_tokens" not in stated:
        read += sum(_count(stated, name) or 0 for name in _BESIDE_INPUT)
    if cached + to_cache > read:
        read += cached + to_cache
    reasoning = _detail(stated, _OUTPUT, "reasoning_tokens")
    if reasoning > written or total is None:
        written += reasoning
    in_total = (total or 0) - read
    return Usage(read, max(written, in_total), cached, max(reasoning, in_total - written), to_cache, _billed(stated))


def _billed(stated: Mapping[str, Any]) -> float:
    details = stated.get("cost_details")
    upstream = details.get("upstream_inference_cost") if stated.get("is_byok") and isinstance(details, Mapping) else 0.0
    cost = stated.get("cost", stated.get("estimated_cost"))
    cost = cost.get("total_cost") if isinstance(cost, Mapping) else cost
    return (_number(cost) or 0.0) + (_number(upstream) or 0.0)


def _first(stated: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _count(stated, name)) is not None), None)


def _detail(stated: Mapping[str, Any], parts: tuple[str, ...], *names: str) -> int:
    """Of `prompt_tokens_details` and its kin; some servers leave the name at the top."""
    places = [stated, *(stated.get(f"{part}_details") for part in parts)]
    return max(_count(one, name) or 0 for one in places if isinstance(one, Mapping) for name in names)


def _count(stated: Mapping[str, Any], name: str) -> int | None:
    number = _number(stated.get(name))
    return None if number is None else math.ceil(number)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return value
