"""One date per run for chat templates that name today's, so that equal inputs give equal prompts on every day."""

import re
from datetime import date as Date


def with_date(template: str, date: str | None) -> str:
    """The template with its `strftime_now` at midnight of `date` (ISO); itself for None, or if it asks for no date.

    transformers hands a template no function of ours, so the date is a macro in front of it.
    """
    if date is None or "strftime_now" not in template:
        return template
    day = Date.fromisoformat(date)
    # Every directive of a format that stands in the template; Jinja drops the newline after the macro.
    names = sorted(set(re.findall("%-?[A-Za-z]", template)))
    chain = "".join(f" | replace({_literal(name)}, {_literal(day.strftime(name))})" for name in names)
    return "{%- macro strftime_now(format) -%}{{ format" + chain + " }}{%- endmacro %}\n" + template


def _literal(text: str) -> str:
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
