"""One cue: a pattern, and the words without which it is not worth a search."""

import re
from dataclasses import dataclass

from models.refusal.text import STEM, Unit

# Without one of these nothing is declined.
NEGATIONS = (
    "not never cannot nothing unable incapable unwilling prohibited forbidden restricted barred refuse decline no sorry"
)


@dataclass(frozen=True)
class Cue:
    """A pattern, and the stems of which a unit must hold one to be worth a search (none: always searched)."""

    pattern: re.Pattern[str]
    stems: frozenset[str]

    def found(self, unit: Unit) -> bool:
        """Whether the unit gives this cue."""
        return self.may_be_in(unit) and self.pattern.search(unit.plain) is not None

    def count(self, unit: Unit) -> int:
        """How often the unit gives it."""
        return len(self.pattern.findall(unit.plain)) if self.may_be_in(unit) else 0

    def may_be_in(self, unit: Unit) -> bool:
        """Whether the unit has one of the stems."""
        return not self.stems or not self.stems.isdisjoint(unit.stems)


def cue(stems: str | frozenset[str], *patterns: str) -> Cue:
    """A cue that any of the patterns gives. `stems`: words between spaces, of which the first letters count."""
    given = stems if isinstance(stems, frozenset) else frozenset(stem[:STEM] for stem in stems.split())
    return Cue(re.compile("|".join(patterns)), given)
