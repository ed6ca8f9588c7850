"""`python -m tasks.tools.inspection FILE …`: the monitors of text over any table, as one JSON document on stdout.

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
from models.monitors.drift import LEAST_ROWS, length_correlation, reward_findings
from models.monitors.finding import worst
from models.monitors.survey import Settings, text_findings, unmeasured
from models.monitors.text import words
from tasks.common.errors import DataError, one_line
from tasks.evaluation.monitor_settings import monitor_settings
from tasks.runner.params import read_params, stage_config
from tasks.tools.answer_tables import Columns, answers_of, by_model
from tasks.tools.tables import read_table

SHIPPED_PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


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
    reference = None if base is None else (base, word_counts(base))
    found = text_findings(answers, base, settings) + reward_findings(answers, word_counts(answers), settings, reference)
    return {
        "answers": len(answers),
        "prompts": len(set(answers.prompts)),
        "level": worst([one.level for one in found]),
        "findings": [one.document() for one in found],
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


def main(arguments: list[str] | None = None) -> int:
    """Command line entry; 0 with a document on stdout, 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tasks.tools.inspection", description=__doc__)
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
