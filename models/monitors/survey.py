"""All monitors of text over one table of answers, alone or against a reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.monitors import collapse, diversity, hacks
from models.monitors.answers import Answers
from models.monitors.finding import (
    WITHIN_NOISE,
    Example,
    Finding,
    Limit,
    Limits,
    Ratio,
    falling,
    rising,
    standard_error,
)
from models.monitors.text import words

LEAST_WORDS = 100  # fewer say nothing about diversity
SHORT = 10  # words per answer; shorter ones, as "The answer is 12.", are alike in form, and a reference says how much
LEAST_PROMPTS = 10  # with fewer, silence says little
HABIT = 0.95  # share of the reference's answers with an end mark, for a missing one to tell


@dataclass(frozen=True)
class Sign:
    """A reading of single answers: how much of each row shows it, and how a sentence says so."""

    name: str
    shows: Callable[[Answers], Sequence[float]]
    says: str
    applies: Callable[[Answers], Sequence[bool]] | None = None
    wholes: Callable[[Answers], Sequence[float]] | None = None  # what `shows` is a part of; 1 each, where not given


@dataclass(frozen=True)
class Settings:
    """How monitors judge. `limits` by monitor; a monitor without limits for the case at hand is left out."""

    limits: Mapping[str, Limits]
    noise: float  # standard errors by which a difference to the reference must exceed 0
    minimum_answers: int  # that must show something for it to be found
    examples: int
    words: int  # that diversity is measured on, of each model
    draws: int  # random samples of so many words
    vocabulary: int  # words that speakers know, for expectation-adjusted distinct
    seed: int
    reference_name: str = "the reference"
    more: tuple[Sign, ...] = ()  # that other packages register

    def limit(self, name: str, relative: bool) -> Limit | None:
        limits = self.limits.get(name, Limits())
        return limits.relative if relative else limits.absolute


def text_findings(answers: Answers, reference: Answers | None, settings: Settings) -> list[Finding]:
    """One finding for each monitor of text that has limits, `ok` ones too; against `reference` where there is one."""
    of_signs = (*signs(answers, reference), *settings.more)
    shares = [share_finding(sign, answers, reference, settings) for sign in of_signs]
    return [one for one in (*shares, length_finding(answers, reference, settings)) if one is not None] + (
        diversity_findings(answers, reference, settings)
    )


def unmeasured(answers: Answers, reference: Answers | None, settings: Settings) -> list[str]:
    """What these tables cannot show, one line each: without it, no finding would read as all clear."""
    notes = []
    if (prompts := len(set(answers.prompts))) < LEAST_PROMPTS:
        notes.append(
            f"{prompts} prompts are too few to clear a model, whatever is found or not; a finding needs at least "
            f"{settings.minimum_answers} answers that show it"
        )
    reason = _undiverse(answers, reference, settings)
    if reason and any(settings.limit(name, reference is not None) for name in DIVERSITY):
        notes.append(f"diversity is not measured: {reason}")
    return notes


def _undiverse(answers: Answers, reference: Answers | None, settings: Settings) -> str | None:
    """Why these tables say nothing about diversity; None where they do."""
    size = diversity.shared_size(_tables(answers, reference), settings.words)
    if size < LEAST_WORDS:
        return f"{size} words, at least {LEAST_WORDS} are needed"
    mean = float(np.mean(_lengths(answers)))
    if reference is None and mean < SHORT:
        return f"answers have {mean:.1f} words on average; under {SHORT}, only a reference says how alike they may be"
    return None


def _tables(answers: Answers, reference: Answers | None) -> list[Sequence[str]]:
    return [answers.responses, *([reference.responses] if reference else [])]


def signs(answers: Answers, reference: Answers | None) -> tuple[Sign, ...]:
    return (
        Sign("praise", _each(hacks.gushes), "of answers gush: flattery, emoji or exclamation marks take over"),
        Sign("padding", _padded, "of words are padding: filler, vague sentences, the question said again, courtesies",
             wholes=_lengths),
        Sign("over_caution", _each(hacks.is_overcautious),
             "of answers to prompts not known to be harmful refuse or mostly warn", applies=_not_harmful),
        Sign("loops", _each(collapse.loops), "of answers repeat themselves in a loop"),
        Sign("one_answer", _commonest, "of answers are one and the same, given to different prompts"),
        Sign("truncation", _ending(answers, reference), "of answers stop in the middle"),
    )


def _each(reading: Callable[[str], bool]) -> Callable[[Answers], list[bool]]:
    return lambda answers: [reading(response) for response in answers.responses]


def _padded(answers: Answers) -> list[int]:
    return [hacks.padded_words(*pair) for pair in zip(answers.prompts, answers.responses, strict=True)]


def _lengths(answers: Answers) -> list[int]:
    return [len(words(response)) for response in answers.responses]


def _not_harmful(answers: Answers) -> list[bool]:
    return [harmful is not True for harmful in answers.harmful or [None] * len(answers)]


def _commonest(answers: Answers) -> list[bool]:
    rows = set(collapse.commonest_answer(answers.prompts, answers.responses)[1])
    return [row in rows for row in range(len(answers))]


def _ending(answers: Answers, reference: Answers | None) -> Callable[[Answers], list[bool]]:
    """Answers cut off: those that the model did not end, and those that break off in their text.

    Where nobody knows which were ended, and the reference always ends with an end mark, a sentence without one counts.
    """
    habit = reference is not None and np.mean([collapse.is_closed(text) for text in reference.responses]) >= HABIT

    def shows(table: Answers) -> list[bool]:
        breaks_off = collapse.lacks_an_end if habit and table.finished is None else collapse.stops_short
        finished = table.finished or [True] * len(table)
        return [not done or breaks_off(text) for done, text in zip(finished, table.responses, strict=True)]

    return shows


def share_finding(sign: Sign, answers: Answers, reference: Answers | None, settings: Settings) -> Finding | None:
    """The share of a table that shows the sign: on its own, or by how much it exceeds the reference's.

    None without limits, or where the sign applies to no row.
    """
    limit = settings.limit(sign.name, reference is not None)
    ours, flagged = _read(sign, answers)
    if limit is None or not ours.residuals:
        return None
    theirs = None if reference is None else _read(sign, reference)[0]
    base = theirs.value if theirs else 0.0
    clear = theirs is None or ours.value - base > settings.noise * standard_error(ours, theirs)
    reached = rising(ours.value - base, limit)
    level = reached if clear and len(flagged) >= settings.minimum_answers else "ok"
    beside = f" ({settings.reference_name}: {base:.1%})" if theirs else ""
    beside += "" if level == reached else f"; {WITHIN_NOISE}"
    return Finding(
        sign.name, ours.value, base + limit.warning, None if limit.veto is None else base + limit.veto,
        base if theirs else None, level, f"{ours.value:.1%} {sign.says}{beside}",
        examples_of(flagged, answers, reference, settings.examples),
    )


def _read(sign: Sign, answers: Answers) -> tuple[Ratio, list[int]]:
    """(the share of the rows that the sign applies to, the rows that show it, the most telling first)."""
    applies = sign.applies(answers) if sign.applies else [True] * len(answers)
    shown, wholes = sign.shows(answers), sign.wholes(answers) if sign.wholes else [1.0] * len(answers)
    rows = [row for row, does in enumerate(applies) if does]
    ratio = Ratio.of(*([column[row] for row in rows] for column in (answers.prompts, shown, wholes)))
    return ratio, sorted((row for row in rows if shown[row]), key=lambda row: -shown[row])


def examples_of(rows: Sequence[int], answers: Answers, reference: Answers | None, count: int) -> tuple[Example, ...]:
    """The first `count` of the rows with different prompts, with what the reference said to the same prompt."""
    replies = dict(zip(reversed(reference.prompts), reversed(reference.responses), strict=True)) if reference else {}
    chosen: dict[str, Example] = {}
    for row in rows:
        prompt = answers.prompts[row]
        chosen.setdefault(prompt, Example(prompt, answers.responses[row], replies.get(prompt)))
        if len(chosen) >= count:
            break
    return tuple(chosen.values())[:count]


def length_finding(answers: Answers, reference: Answers | None, settings: Settings) -> Finding | None:
    """Mean words per answer, as a multiple of the reference's; None without a reference or limits."""
    limit = settings.limit("length", True)
    if limit is None or reference is None:
        return None
    counts = _lengths(answers)
    ours, theirs = (Ratio.of(table.prompts, _lengths(table), [1.0] * len(table)) for table in (answers, reference))
    number, base = ours.value, theirs.value
    clear = base > 0 and number - base > settings.noise * standard_error(ours, theirs)
    level = rising(number / base, limit) if clear else "ok"
    longest = sorted(range(len(answers)), key=lambda row: -counts[row]) if level != "ok" else []
    times = f", {number / base:.2f} times {settings.reference_name}'s {base:.1f}" if base else ""
    return Finding(
        "length", number, base * limit.warning, None if limit.veto is None else base * limit.veto, base, level,
        f"answers have {number:.1f} words on average{times}",
        examples_of(longest, answers, reference, settings.examples),
    )


def diversity_findings(answers: Answers, reference: Answers | None, settings: Settings) -> list[Finding]:
    """distinct-2, expectation-adjusted distinct, self-BLEU, at equal numbers of words; none where they say nothing."""
    if _undiverse(answers, reference, settings):
        return []
    tables = _tables(answers, reference)
    size = diversity.shared_size(tables, settings.words)
    how = {"vocabulary": settings.vocabulary, "draws": settings.draws, "seed": settings.seed}
    ours, *rest = (diversity.measure(table, size, **how) for table in tables)
    theirs = rest[0] if rest else None
    return [
        one for name, label in DIVERSITY.items()
        if (one := _diversity_finding(name, label, ours, theirs, size, settings)) is not None
    ]


DIVERSITY = {
    "distinct": "distinct-2 (different word pairs over all)",
    "adjusted_distinct": "expectation-adjusted distinct words",
    "self_bleu": "self-BLEU (how much answers copy each other)",
}


def _diversity_finding(
    name: str, label: str, ours: diversity.Diversity, theirs: diversity.Diversity | None, size: int, settings: Settings
) -> Finding | None:
    """Limits are shares of the reference's diversity, or a diversity; that of self-BLEU is what it lacks to 1."""
    limit = settings.limit(name, theirs is not None)
    if limit is None:
        return None
    number, base = getattr(ours, name), None if theirs is None else getattr(theirs, name)
    flip = name == "self_bleu"
    diverse, scale = (1 - number if flip else number), 1.0
    if base is not None:
        scale = 1 - base if flip else base
    bounds = [None if bound is None else bound * scale for bound in (limit.warning, limit.veto)]
    threshold, veto = ((None if bound is None else 1 - bound) if flip else bound for bound in bounds)
    level = falling(diverse, Limit(bounds[0], bounds[1])) if scale > 0 else "ok"
    beside = f" ({settings.reference_name}: {base:.3f})" if base is not None else ""
    return Finding(name, number, threshold, veto, base, level, f"{label} is {number:.3f} on {size} words{beside}")
