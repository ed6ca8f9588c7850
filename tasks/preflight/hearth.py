"""Scorers that know hearth's world alone, on data that may be another's."""

from __future__ import annotations

from collections.abc import Iterator

from models.hearth import oracle
from tasks.common.rows import Row
from tasks.preflight.checks import PROBLEM, Finding, check
from tasks.preflight.project import Project

HEARTH_KINDS = ("oracle", "simulated")
COMPARED, SCORED = ("compare_prompts",), ("compare_prompts", "select_prompts", "gate_prompts")


@check
def hearth_scorers(project: Project) -> Iterator[Finding]:
    compare = project.config("compare")
    names = [judge.name for judge in compare.judges if judge.kind in HEARTH_KINDS] if compare.given != "only" else []
    if names:
        remedy = "give judges of kind openai, hf, reward_model or human, or set compare.given to only"
        yield from _strangers(project, f"compare.judges: {', '.join(names)}", COMPARED, remedy)
    if project.config("gold").kind == "oracle":
        yield from _strangers(project, "gold (kind oracle)", SCORED, "set gold.kind to reward_model or judge")


def _strangers(project: Project, who: str, files: tuple[str, ...], remedy: str) -> Iterator[Finding]:
    rows = [row for file in files for row in project.rows(file)]
    unknown = [(row, reason) for row in rows if (reason := _refusal(row))]
    if unknown:
        row, reason = unknown[0]
        text = (
            f"{len(unknown)} of {len(rows)} prompts are not hearth's, whose world alone it knows, the first is "
            f"{row['id']} ({reason.partition(';')[0]})"
        )
        yield Finding(PROBLEM, who, text, remedy)


def _refusal(row: Row) -> str | None:
    """Why the oracle cannot score an answer to this prompt; None where it can."""
    try:
        oracle.score(row, "I do not know.")
    except (ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
    return None
