"""What the monitors saw of the candidate, as sentences, examples and a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.common.rows import Row
from tasks.reporting.shown import ABSENT, Table, plain

LOUD = ("veto", "warning")


def of_candidate(findings: Sequence[Row], method: str, checkpoint: str) -> list[Row]:
    """The findings of one checkpoint, vetoes first, then warnings, else in the monitors' order."""
    own = [row for row in findings if (row["model"], row["checkpoint"]) == (method, checkpoint)]
    return sorted(own, key=lambda row: LOUD.index(row["level"]) if row["level"] in LOUD else len(LOUD))


def raised(own: Sequence[Row]) -> list[Row]:
    """Those that warn or veto."""
    return [row for row in own if row["level"] in LOUD]


def sentences(own: Sequence[Row]) -> list[str]:
    """One line for each monitor that warns or vetoes."""
    return [f"monitor {plain(row['name'])} ({row['level']}): {row['sentence']}" for row in raised(own)]


def examples(own: Sequence[Row]) -> list[dict[str, Any]]:
    """The first example of each monitor that warns or vetoes, as answers side by side."""
    examples = []
    for row in raised(own):
        for first in row["examples"][:1]:
            answers = {"sft": first.get("reference"), "candidate": first["response"]}
            examples.append({
                "prompt": f"{plain(row['name'])}: {first['prompt']}", "gold": None,
                "answers": {name: text for name, text in answers.items() if text is not None},
            })
    return examples


def table(own: Sequence[Row]) -> Table:
    """Every monitor with its number, SFT's, and its two limits."""
    keys = ("number", "reference", "threshold", "veto")
    texts = ((ABSENT if row[key] is None else f"{row[key]:.3g}" for key in keys) for row in own)
    rows = [[plain(row["name"]), *values, row["level"]] for row, values in zip(own, texts, strict=True)]
    return ["monitor", "number", "SFT", "warns at", "veto at", "level"], rows


def counted(document: Mapping[str, Any]) -> str:
    """How many monitors warn and veto over all checkpoints."""
    counts = f"{document['warnings']} warnings, {document['vetoes']} vetoes"
    return f"Over all checkpoints of DPO, PPO and best-of-n: {counts}."
