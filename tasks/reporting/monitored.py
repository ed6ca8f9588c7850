"""What the monitors saw of the candidate, as sentences, examples and a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.common.rows import Row

LOUD = ("veto", "warning")
HEAD = ["monitor", "number", "SFT", "warns at", "veto at", "level"]


def of_candidate(findings: Sequence[Row], method: str, checkpoint: str) -> list[Row]:
    """The findings of one checkpoint, vetoes first, then warnings, else in the monitors' order."""
    own = [row for row in findings if (row["model"], row["checkpoint"]) == (method, checkpoint)]
    return sorted(own, key=lambda row: LOUD.index(row["level"]) if row["level"] in LOUD else len(LOUD))


def sentences(found: Sequence[Row]) -> list[str]:
    """One line for each monitor that warns or vetoes."""
    return [f"monitor {row['name'].replace('_', ' ')} ({row['level']}): {row['sentence']}"
            for row in found if row["level"] in LOUD]


def examples(found: Sequence[Row]) -> list[dict[str, Any]]:
    """The first example of each monitor that warns or vetoes, as answers side by side."""
    shown = []
    for row in found:
        if row["level"] in LOUD and row["examples"]:
            first = row["examples"][0]
            answers = {"sft": first.get("reference"), "candidate": first["response"]}
            shown.append({
                "prompt": f"{row['name'].replace('_', ' ')}: {first['prompt']}", "gold": None,
                "answers": {name: text for name, text in answers.items() if text is not None},
            })
    return shown


def table(found: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """(head, rows): every monitor with its number, SFT's, and its two limits."""
    rows = [
        [row["name"].replace("_", " "), *(_number(row[key]) for key in ("number", "reference", "threshold", "veto")),
         row["level"]]
        for row in found
    ]
    return HEAD, rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def counted(document: Mapping[str, Any]) -> str:
    """How many monitors warn and veto over all checkpoints."""
    return f"Over all checkpoints of DPO, PPO and best-of-n: {document['warnings']} warnings, {document['vetoes']} vetoes."
