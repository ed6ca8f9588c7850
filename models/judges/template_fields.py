"""What a judge's template must hold, whatever its words say.

The rule on data stands in the system message, and each text by itself on its lines of the user message: then all that
others wrote lies between its fences, below the rule that says what fences are. Fields are filled as they are, so none
may be cut short, quoted or taken apart on the way.
"""

from collections.abc import Iterator
from string import Formatter

from models.judges.templates import Template

TEXTS = {"pair": ("conversation", "first", "second"), "rate": ("conversation", "first")}
# Anywhere in a prompt: what is judged by, the names of the answers and, for an answer in JSON, how one looks.
WORDS = {"openai": ("criteria", "keys", "example"), "hf": ("criteria", "keys")}
NEEDED = {"openai": ("criteria", "keys"), "hf": ("criteria",)}


def check_template(template: Template, kind: str, owner: str) -> None:
    """Raises ValueError with one line that names `owner`, the text and the field, for a template that lets a judge of
    `kind` (openai, hf) be told less than it must be, or that has a field which nothing fills."""
    for task, texts in TEXTS.items():
        system, user = f"{task}_system", f"{task}_user"
        _check_fields(getattr(template, system), (*WORDS[kind], "rule"), f"{owner}: {system}")
        _check_fields(getattr(template, user), (*WORDS[kind], *texts), f"{owner}: {user}")
        _check_there(getattr(template, system), ("rule",), f"{owner}: {system}")
        _check_there(getattr(template, user), texts, f"{owner}: {user}")
        both = getattr(template, system) + getattr(template, user)
        _check_there(both, NEEDED[kind], f"{owner}: {system} and {user} together")
        _check_alone(getattr(template, user), texts, f"{owner}: {user}")


def _check_fields(text: str, known: tuple[str, ...], where: str) -> None:
    for name in _fields(text, where):
        if name not in known:
            fields = ", ".join(f"{{{one}}}" for one in known)
            raise ValueError(f"{where} has the unknown field {{{name}}}; it may hold {fields}, and {{{{ for a brace")


def _fields(text: str, where: str) -> Iterator[str]:
    """The fields in order; one that is cut or converted with all that follows its name, so that it is none known."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{where} cannot be read ({error}); write {{{{ and }}}} for other braces") from None
    for _, name, cut, quoted in parsed:
        if name is not None:
            yield name + (f"!{quoted}" if quoted else "") + (f":{cut}" if cut else "")


def _check_there(text: str, needed: tuple[str, ...], where: str) -> None:
    missing = [name for name in needed if name not in _fields(text, where)]
    if missing:
        raise ValueError(f"{where}: the field {{{missing[0]}}} is missing; put it in")


def _check_alone(text: str, texts: tuple[str, ...], where: str) -> None:
    """Each of `texts` once and with nothing beside it on its line, candidate A's above candidate B's."""
    marks = {name: f"\0{name}\0" for name in _fields(text, where)}
    marked = "".join(literal + (marks[name] if name else "") for literal, name, *_ in Formatter().parse(text))
    for name in texts:
        lines = [line for line in marked.split("\n") if marks[name] in line]
        if any(line.strip(" \t") != marks[name] for line in lines):
            raise ValueError(f"{where} has {{{name}}} beside other words; put it on a line of its own, as fences are")
        if len(lines) > 1:
            raise ValueError(f"{where} has {{{name}}} {len(lines)} times; each text stands there once")
    if "second" in texts and marked.index(marks["second"]) < marked.index(marks["first"]):
        raise ValueError(f"{where} shows {{second}} before {{first}}; put candidate A's answer first, as the card "
                         "counts")
