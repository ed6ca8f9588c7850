"""One date per run for chat templates that name today's, so that equal inputs give equal prompts on every day."""

from datetime import date as Date
from functools import lru_cache

DIRECTIVES = "aAbBcdDeFgGhHIjmMnpSTtuUVwWxXyYCZzf"


def with_date(template: str, date: str | None) -> str:
    """The template with its `strftime_now` at midnight of `date` (ISO); itself for None, or if it asks for no date.

    transformers hands a template no function of ours, so the date is a macro in front of it.
    """
    return _clock(date) + template if date is not None and "strftime_now" in template else template


@lru_cache
def _clock(date: str) -> str:
    """A Jinja macro that writes a date in any format, as `strftime` would; the last newline is one that Jinja drops."""
    day = Date.fromisoformat(date)
    names = [f"%{sign}{letter}" for letter in DIRECTIVES for sign in ("-", "")]
    written = [("%%", "\0"), *((name, day.strftime(name)) for name in names), ("\0", "%")]
    chain = "".join(f" | replace({_literal(name)}, {_literal(text)})" for name, text in written if name != text)
    return "{%- macro strftime_now(format) -%}{{ format" + chain + " }}{%- endmacro %}\n"


def _literal(text: str) -> str:
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
