"""Ask the judges their anchors, in a process of its own: local judges need torch, which the flow never imports."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import command
from flows.costs.ledger import Entry
from flows.graph.running import Processes, StageError, run_check
from flows.settings import read_settings

NAME = "anchors"
USAGE = ("calls", "input_tokens", "output_tokens", "cost")
HEADS = ("judge", "baseline", "moved by", "other winner", "invalid")


@dataclass(frozen=True)
class Drift:
    """The document of `python -m tasks.judging.anchors`, what asking cost, and where its log is."""

    document: dict[str, Any]
    cost: Entry
    log: Path

    @property
    def judges(self) -> dict[str, dict[str, Any]]:
        return self.document["judges"]

    @property
    def refused(self) -> str | None:
        """Why no run should start, in one line."""
        return self.document["refused"]

    def check(self) -> None:
        """Raises StageError where a judge drifted."""
        if self.refused:
            raise StageError(NAME, "data", self.refused, self.log)

    @property
    def metrics(self) -> dict[str, float]:
        """By name, for MLflow."""
        moved = {f"{NAME}/{name}/moved": float(judge["moved"]) for name, judge in self.judges.items()}
        return moved | {f"{NAME}/{name}": float(self.document[name]) for name in USAGE}

    @property
    def in_one_line(self) -> str:
        if not self.judges:
            return "no judge has anchors: anchors.file is null, or only people judge"
        furthest = max(judge["moved"] for judge in self.judges.values())
        return f"{self.document['anchors']} anchors asked of {', '.join(self.judges)}: moved by {furthest:.3f} at most"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """One of text per judge, under HEADS."""
        return [
            (name, one["baseline"], f"{one['moved']:.3f}", f"{one['changed']} of {one['answers']}", str(one["invalid"]))
            for name, one in self.judges.items()
        ]

    def as_markdown(self) -> str:
        """For the Prefect page."""
        refused = [f"**{self.refused}**"] if self.refused else []
        return "\n".join([self.in_one_line, "", *command.markdown_table(HEADS, self.rows), "", *refused]) + "\n"


def ask(root: Path, state: Path, timeout: float, processes: Processes) -> Drift:
    """Ask the judges of the project at `root`; that one drifted is part of what is returned.

    Raises StageError for judges or anchors that cannot be asked.
    """
    # Clones share the state folder, and each may ask at any time.
    place = state / "runs" / f"{NAME}-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
    return Drift(*run_check("tasks.judging.anchors", [], root, NAME, place, timeout, processes), place / "log.txt")


def by_hand(root: Path, state: Path, console) -> int:
    """`plumb anchors`: ask, print how far each judge moved, and return the exit code.

    Raises ValueError with one line for judges or anchors that cannot be asked.
    """
    processes = Processes()
    try:
        drift = ask(root, state, read_settings(root).stage_seconds, processes)
    except StageError as error:
        raise ValueError(error.message) from None
    finally:
        processes.stop()
    console.print(_table(drift) if drift.judges else drift.in_one_line)
    if drift.refused:
        console.print(drift.refused, style="red", soft_wrap=True)
    return int(drift.refused is not None)


def _table(drift: Drift):
    document = drift.document
    styles = ["red" if judge["moved"] > document["max_drift"] else "" for judge in drift.judges.values()]
    rows = [[(cell, style) for cell in row] for row, style in zip(drift.rows, styles, strict=True)]
    title = f"{document['anchors']} anchors, {document['calls']} calls for {document['cost']:.4f}"
    return command.table(HEADS, rows, title)
