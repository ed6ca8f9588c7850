"""The monitors of text over any table of prompts and answers, as a document: what `plumb inspect` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.monitors.answers import Answers
from models.monitors.drift import LEAST_ROWS, length_correlation, reward_findings
from models.monitors.finding import worst
from models.monitors.survey import Settings, text_findings, unmeasured
from models.monitors.text import words
from tasks.common.errors import DataError
from tasks.evaluation.monitor_settings import monitor_settings
from tasks.runner.params import read_params, stage_config
from tasks.tools.answer_tables import Columns, answers_of, by_model
from tasks.tools.tables import read_table

SHIPPED_PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


def inspect(
    file: Path, against: Path | None = None, columns: Columns = Columns(), reference: str | None = None,
    params: Path = SHIPPED_PARAMS, keep_empty: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """{"file", "reference", "tables": {NAME: {"answers", "prompts", "level", "findings": [...], "notes": [...]}}}.

    Each model of the file (one, named after it, where no column says who answered) is held against `against`, the model
    `reference` of the same file, or absolute limits. Raises DataError for bad tables, ConfigError for bad params.
    """
    cfg = stage_config(read_params(params), "monitors", params)
    rows = read_table(file)
    groups = {file.name: rows} if columns.model is None else by_model(rows, columns.model, file)
    tables = {name: answers_of(group, columns, file, keep_empty) for name, group in groups.items()}
    base, base_name = None, None
    if against is not None:
        base, base_name = answers_of(read_table(against), columns, against, keep_empty), against.name
    elif reference is not None:
        if reference not in tables:
            raise DataError(f"{file} has no model {reference!r}; it has {', '.join(tables)}")
        base, base_name = tables.pop(reference), reference
    settings = monitor_settings(cfg, base_name or "")
    return {
        "file": file.name,
        "reference": base_name,
        "tables": {name: inspected(table, base, settings) for name, table in tables.items()},
    }


def inspected(answers: Answers, base: Answers | None, settings: Settings) -> dict[str, Any]:
    reference = None if base is None else (base, word_counts(base))
    findings = text_findings(answers, base, settings)
    findings += reward_findings(answers, word_counts(answers), settings, reference)
    return {
        "answers": len(answers),
        "prompts": len(set(answers.prompts)),
        "level": worst([finding.level for finding in findings]),
        "findings": [finding.document() for finding in findings],
        "notes": unmeasured(answers, base, settings) + _unread(answers),
    }


def word_counts(answers: Answers) -> list[int]:
    return [len(words(response)) for response in answers.responses]


def _unread(answers: Answers) -> list[str]:
    """That a table's scores say nothing about length."""
    scores = answers.rewards
    if scores is None or length_correlation(word_counts(answers), scores, answers.prompts) is not None:
        return []
    return [f"the scores' love of length is not measured: under {LEAST_ROWS} answers, or scores or lengths all equal"]
