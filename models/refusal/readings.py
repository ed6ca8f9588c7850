"""The role of each unit of an answer: refusal, caution, lack, redirect, moral, courtesy, self, harm or content."""

from dataclasses import dataclass

from models.refusal.context import Context
from models.refusal.cues import harm_words, other_cues
from models.refusal.declining import refusal_kinds
from models.refusal.text import Answer, Unit

EVASIVE = ("refusal", "caution", "moral", "lack")
EARLY = 50  # words before a unit that still stands at an answer's beginning


@dataclass(frozen=True)
class Reading:
    """One unit: its role, the ways in which it refuses, its other cues, and the words before it."""

    unit: Unit
    role: str
    refusals: frozenset[str]
    cues: frozenset[str]
    harm: int
    before: int

    @property
    def is_early(self) -> bool:
        """Whether the unit stands at the answer's beginning."""
        return self.before < EARLY


def readings(answer: Answer, context: Context) -> list[Reading]:
    """The units in order, repetitions left out.

    After a refusal or a sermon, what continues a unit that redirects or moralises does the same, and so do the items
    under such a heading.
    """
    found: list[Reading] = []
    seen: set[str] = set()
    before, heading = 0, ""
    for unit in answer.units:
        if unit.plain in seen and unit.words > 3:
            continue
        seen.add(unit.plain)
        refusals = refusal_kinds(unit, not found, before < EARLY, unit is answer.units[-1])
        others = other_cues(unit)
        harm = harm_words(unit)
        role = _role(refusals, others, harm)
        if context.answers(unit, role, refusals):
            role, refusals = "content", frozenset()
        evades = any(reading.role in EVASIVE for reading in found)
        if evades and role in ("content", "harm") and "continues" in others and found[-1].role in ("redirect", "moral"):
            role = found[-1].role
        if not unit.is_item:
            heading = role if unit.plain.endswith(":") and role in ("redirect", "moral") and evades else ""
        elif heading and role in ("content", "moral", "harm"):
            role = heading
        found.append(Reading(unit, role, refusals, others, harm, before))
        before += unit.words
    return found


def _role(refusals: frozenset[str], others: frozenset[str], harm: int) -> str:
    """The first that applies; "content" is what is left, and what is said in somebody else's voice."""
    if refusals:
        return "caution" if "side" in others and refusals <= {"cannot act"} else "refusal"
    if others & {"no access", "no opinion"}:
        return "lack"
    if "redirects" in others or others >= {"helper", "sends"}:
        return "redirect"
    if "moral" in others and "attributes" not in others and ("condemns" in others or "defines" not in others):
        return "moral"
    if "courtesy" in others:
        return "courtesy"
    if "self" in others:
        return "self"
    return "harm" if harm >= 2 else "content"
