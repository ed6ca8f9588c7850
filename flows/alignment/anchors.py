"""Ask the judges their anchors, in a process of its own: local judges need torch, which the flow never imports."""

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.costs.ledger import Entry
from flows.graph import running
from flows.graph.running import Processes, StageError
from flows.settings import read_settings

NAME = "anchors"
USAGE = ("calls", "input_tokens", "output_tokens", "cost")


@dataclass(frozen=True)
class Asked:
    """What `python -m tasks.judging.anchors` found (its document), what that took, and where its log is."""

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
        moved = {f"{NAME}/{name}/moved": float(found["moved"]) for name, found in self.judges.items()}
        return moved | {f"{NAME}/{name}": float(self.document[name]) for name in USAGE}

    @property
    def in_one_line(self) -> str:
        if not self.judges:
            return "no judge has anchors: anchors.file is null, or only people judge"
        furthest = max(found["moved"] for found in self.judges.values())
        return f"{self.document['anchors']} anchors asked of {', '.join(self.judges)}: moved by {furthest:.3f} at most"


def ask(root: Path, state: Path, timeout: float, processes: Processes) -> Asked:
    """Ask the judges of the project at `root`; that one drifted is part of what is returned.

    Raises StageError for judges or anchors that cannot be asked.
    """
    # Clones share the state folder, and each may ask at any time.
    place = state / "runs" / f"{NAME}-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"
    out = place / "found.json"
    out.unlink(missing_ok=True)
    started, peak = time.time(), 0
    try:
        command = [sys.executable, "-m", "tasks.judging.anchors", "--out", str(out)]
        _, peak = running.run_command(command, root, NAME, place, timeout, processes)
    except StageError:
        if not out.exists():
            raise
    document = json.loads(out.read_text(encoding="utf-8"))
    seconds = round(time.time() - started, 3)
    usage = {name: document[name] for name in ("calls", "input_tokens", "output_tokens")}
    paid = {"money": document["cost"], "spent": document["cost"], "asked": document["calls"]}
    cost = Entry(NAME, "", round(started, 3), seconds, peak, **usage, **paid)
    return Asked(document, cost, place / "log.txt")


def by_hand(root: Path, state: Path, console) -> int:
    """`plumb anchors`: ask, print what was found, and return the exit code.

    Raises ValueError with one line for judges or anchors that cannot be asked.
    """
    processes = Processes()
    try:
        asked = ask(root, state, 60 * read_settings(root).flow.stage_timeout_minutes, processes)
    except StageError as error:
        raise ValueError(error.message) from None
    finally:
        processes.stop()
    console.print(_table(asked) if asked.judges else asked.in_one_line)
    if asked.refused:
        console.print(asked.refused, style="red", markup=False, highlight=False, soft_wrap=True)
    return int(asked.refused is not None)


def _table(asked: Asked):
    from rich.table import Table
    from rich.text import Text

    title = f"{asked.document['anchors']} anchors, {asked.document['calls']} calls for {asked.document['cost']:.4f}"
    heads = ("judge", "baseline", "moved by", "other winner", "invalid")
    table = Table(*heads, title=title, title_justify="left", header_style="bold")
    for name, found in asked.judges.items():
        style = "red" if found["moved"] > asked.document["max_drift"] else ""
        winner = f"{found['changed']} of {found['answers']}"
        cells = (name, found["baseline"], f"{found['moved']:.3f}", winner, str(found["invalid"]))
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def as_markdown(asked: Asked) -> str:
    """The same, for the Prefect page."""
    lines = [asked.in_one_line, "", "| judge | baseline | moved by | other winner | invalid |", "|---|---|---|---|---|"]
    for name, found in asked.judges.items():
        winner = f"{found['changed']} of {found['answers']}"
        lines.append(f"| {name} | {found['baseline']} | {found['moved']:.3f} | {winner} | {found['invalid']} |")
    return "\n".join([*lines, "", *([f"**{asked.refused}**"] if asked.refused else [])]) + "\n"
