"""Why a reply cannot be read, what it should have been, and which setting helps."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.endpoints.endpoint import is_filtered
from models.judges.replies import SHOWN, is_unfinished

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # fields of a message, by server
_CUT = ("length", "model_length", "max_tokens", "max_output_tokens")  # finish_reason, by server


def is_cut(choice: Mapping[str, Any]) -> bool:
    """Whether a choice may end in the middle of a sentence."""
    return is_filtered(choice) or str(choice.get("finish_reason")).lower() in _CUT


def why_unreadable(choice: Mapping[str, Any], text: str, max_tokens: int, criteria: Sequence[str], paired: bool) -> str:
    """In a few words, for a completion's choice of which `text` was read: quoted, cut."""
    message = choice.get("message") or {}
    values = '"A", "B" or "tie"' if paired else "an integer from 1 to 5"
    expected = f"a JSON object with {values} for {', '.join(criteria)}, or one such value as its last line,"
    return f"{_what(message, text)}, where {expected} was expected; {_way_out(choice, message, text, max_tokens)}"


def refusal_of(message: Mapping[str, Any]) -> str:
    """What a model says in the field where some put that they will not answer."""
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def _what(message: Mapping[str, Any], text: str) -> str:
    thoughts = _thoughts(message)
    if refusal := refusal_of(message):
        return f"it refuses: {_shown(refusal)}"
    if text.strip():
        return f"it says {_shown(text)}"
    return f"its content is empty, and {thoughts[0]} says {_shown(thoughts[1])}" if thoughts else "it says nothing"


def _way_out(choice: Mapping[str, Any], message: Mapping[str, Any], text: str, max_tokens: int) -> str:
    cut = is_cut(choice)
    if refusal_of(message):
        return "choose another model, or give the judge a template that says what the texts are for"
    if cut and (is_unfinished(text) or _thoughts(message)):
        return f"it thought until max_tokens={max_tokens}: raise the judge's max_tokens, or switch its reasoning off"
    if cut:
        return (f"max_tokens={max_tokens} cut it off: raise the judge's max_tokens, or give it a template that asks "
                "for the verdict alone")
    if _thoughts(message) and not text.strip():
        return ("see that the server's reasoning parser is the model's, or switch its reasoning off, and raise the "
                "judge's epoch to ask again")
    return "give the judge a template that says how to answer, or choose another model"


def _thoughts(message: Mapping[str, Any]) -> tuple[str, str] | None:
    thoughts = ((name, message.get(name)) for name in _THOUGHTS)
    return next(((name, value) for name, value in thoughts if isinstance(value, str) and value.strip()), None)


def _shown(text: str) -> str:
    return repr(" ".join(text.split())[:SHOWN])
