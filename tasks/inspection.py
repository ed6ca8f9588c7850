"""`python -m tasks.inspection FILE …`: the monitors of text over any table, as one JSON document on stdout.

`plumb inspect` starts it and shows what it says: the command line imports neither models nor torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.monitors.answers import Answers
from models.monitors.drift import LEAST_ROWS, length_correlation, length_reward_finding
from models.monitors.finding import Finding, worst
from models.monitors.survey import Settings, text_findings, unmeasured
from models.monitors.text import words
from tasks.answer_tables import Columns, answers_of, by_model
from tasks.errors import DataError, one_line
from tasks.monitoring import monitor_settings
from tasks.params import read_params, stage_config
from tasks.tables import read_table

SHIPPED_PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"


def inspect(
    path: Path, against: Path | None, columns: Columns, reference: str | None, params: Path, keep_empty: bool
) -> dict[str, Any]:
    """{"file", "reference", "tables": {NAME: {"answers", "prompts", "level", "findings": [...], "notes": [...]}}}.

    Each model of the file is held against `against`, the model `reference` of the same file, or absolute limits.
    Raises DataError for bad tables, ConfigError for bad params.
    """
    cfg = stage_config(read_params(params), "monitors", params)
    tables = read_tables(path, columns, keep_empty)
    base, base_name = None, None
    if against is not None:
        base, base_name = answers_of(read_table(against), columns, against, keep_empty), against.name
    elif reference is not None:
        if reference not in tables:
            raise DataError(f"{path} has no model {reference!r}; it has {', '.join(tables)}")
        base, base_name = tables.pop(reference), reference
    settings = monitor_settings(cfg, base_name or "")
    return {
        "file": path.name,
        "reference": base_name,
        "tables": {name: inspected(table, base, settings) for name, table in tables.items()},
    }


def read_tables(path: Path, columns: Columns, keep_empty: bool) -> dict[str, Answers]:
    """The answers of each model in a file; one table named after the file where no column says who answered."""
    rows = read_table(path)
    groups = {path.name: rows} if columns.model is None else by_model(rows, columns.model, path)
    return {name: answers_of(group, columns, path, keep_empty) for name, group in groups.items()}


def inspected(answers: Answers, base: Answers | None, settings: Settings) -> dict[str, Any]:
    found = text_findings(answers, base, settings) + reward_findings(answers, base, settings)
    return {
        "answers": len(answers),
        "prompts": len(set(answers.prompts)),
        "level": worst([one.level for one in found]),
        "findings": [one.document() for one in found],
        "notes": unmeasured(answers, base, settings) + _unread(answers),
    }


def reward_findings(answers: Answers, base: Answers | None, settings: Settings) -> list[Finding]:
    """The length–reward correlation of a table with scores: against gold's, the reference table's, or on its own."""
    if answers.rewards is None:
        return []
    of_gold = _correlation(answers, "gold")
    expected, expected_name = (of_gold, "gold") if of_gold is not None else (None, None)
    if expected is None and base is not None:
        expected, expected_name = _correlation(base, "rewards"), settings.reference_name
    limit = settings.limit("length_reward", expected is not None)
    correlation = _correlation(answers, "rewards")
    if limit is None or correlation is None:
        return []
    return [length_reward_finding(correlation, expected, limit, expected_name)]


def _unread(answers: Answers) -> list[str]:
    if answers.rewards is not None and _correlation(answers, "rewards") is None:
        return [f"the scores' love of length is not measured: under {LEAST_ROWS} answers, or scores or lengths all equal"]
    return []


def _correlation(answers: Answers, column: str) -> float | None:
    scores = getattr(answers, column)
    lengths = [len(words(response)) for response in answers.responses]
    return None if scores is None else length_correlation(lengths, scores, answers.prompts)


def main(arguments: list[str] | None = None) -> int:
    """Command line entry; 0 with a document on stdout, 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tasks.inspection", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--reference")
    parser.add_argument("--params", type=Path, default=SHIPPED_PARAMS)
    parser.add_argument("--keep-empty", action="store_true")
    for name in ("prompt", "response", "score", "model"):
        parser.add_argument(f"--{name}-column")
    given: Mapping[str, Any] = vars(parser.parse_args(arguments))
    columns = Columns(*(given[f"{name}_column"] for name in ("prompt", "response", "score", "model")))
    try:
        found = inspect(
            given["file"], given["against"], columns, given["reference"], given["params"], given["keep_empty"]
        )
    except (ValueError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
