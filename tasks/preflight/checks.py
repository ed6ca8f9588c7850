"""Checks and what they find. A check takes the project and yields findings; `@check` adds it to those that are made.

A check asks by the very function by which a stage would refuse later, so that no rule stands in two places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from tasks.common import errors
from tasks.preflight.project import Project

PROBLEM, NOTE = "problem", "note"


@dataclass(frozen=True)
class Finding:
    """What is wrong with `subject`, and the way out. `level`: a problem ends a run, a note is worth knowing.

    `may_pass`: trying again may help, as with a server that does not answer.
    """

    level: str
    subject: str
    text: str
    remedy: str = ""
    may_pass: bool = False


Check = Callable[[Project], Iterable[Finding]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Adds `function` to the checks that a preflight makes; its name says what is checked."""
    CHECKS.append(function)
    return function


def refused(subject: str, call: Callable[[], object], level: str = PROBLEM) -> Iterator[Finding]:
    """What `call` raises, as a finding; nothing where it returns."""
    try:
        call()
    except Exception as error:  # noqa: BLE001
        yield finding_of(subject, error, level)


def finding_of(subject: str, error: Exception, level: str = PROBLEM) -> Finding:
    """An error as a finding: our messages name the way out behind a semicolon. A fault of a check itself is a note."""
    kind = errors.kind_of(error)
    text, _, remedy = errors.one_line(error).partition("; ")
    if kind == "internal":
        return Finding(NOTE, subject, f"could not be checked ({text[:300]})", remedy)
    return Finding(level, subject, text, remedy, may_pass=kind == "transient")


def examine(project: Project, checks: Iterable[Check]) -> list[Finding]:
    """All that the checks find, problems first; what stands in the way of several checks is named once."""
    findings: dict[tuple[str, str], Finding] = {}
    for finding in chain.from_iterable(_findings(one, project) for one in checks):
        findings.setdefault((finding.text, finding.remedy), finding)
    return sorted(findings.values(), key=lambda finding: finding.level != PROBLEM)


def _findings(one: Check, project: Project) -> Iterator[Finding]:
    """What a check finds, and what stops it."""
    try:
        yield from one(project)
    except Exception as error:  # noqa: BLE001
        yield finding_of(one.__name__.replace("_", " "), error)
