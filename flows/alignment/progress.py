"""The display of a running flow: a live board on a terminal, plain lines elsewhere."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from flows import command
from flows.alignment.anchors import Drift
from flows.alignment.preflight import Preflight
from flows.graph.clock import in_words, time_left
from flows.graph.live import Progress, Tail
from flows.graph.running import StageError, StageRun

PLAIN_SECONDS = 15.0
MARKS = {"ran": "✓", "restored": "↺", "current": "=", "failed": "✗", "running": "▸", "waiting": "·"}
STYLES = {
    "ran": "green", "restored": "green", "current": "dim", "failed": "bold red", "running": "bold", "waiting": "dim",
}  # fmt: skip
BAR_CELLS = 20


@dataclass
class Row:
    """One stage on the board; `expected` seconds, `started` on the monotonic clock."""

    name: str
    expected: float
    upstream: tuple[str, ...]
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    tail: Tail | None = None
    last: Progress | None = None
    first: Progress | None = None

    def elapsed(self, now: float) -> float:
        return now - self.started if self.state == "running" else self.seconds

    def left(self, now: float) -> float:
        """Seconds still to go: by its own progress once there is some, before that by what it took last time."""
        if self.state not in ("waiting", "running"):
            return 0.0
        elapsed = self.elapsed(now) if self.state == "running" else 0.0
        left = max(self.expected - elapsed, 1.0)
        if self.last and self.first and self.last.done > self.first.done:
            pace = (self.last.time - self.first.time) / (self.last.done - self.first.done)
            measured = pace * (self.last.total - self.last.done)
            share = self.last.done / max(self.last.total, 1)
            left = share * measured + (1 - share) * max(left, measured)
        return max(left, 0.5)


class Board:
    """Listens to a session and shows it. Use as a context manager."""

    def __init__(self, console, stages, expected: dict[str, float], cores: int):
        self._console, self._cores = console, cores
        self._rows = {s.name: Row(s.name, expected[s.name], s.upstream) for s in stages.values()}
        self._begun = time.monotonic()
        self._lock = threading.RLock()
        self._live = None
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=4)
            self._live.start()
        else:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        if self._live:
            self._live.stop()
        if self._ticker:
            self._ticker.join()

    def opens(self, flow_run_id: str) -> None:
        self._say("pulling what is missing, then the stages")

    def preflighted(self, preflight: Preflight) -> None:
        for line in (preflight.in_one_line, *(line for note in preflight.notes for line in note.lines)):
            self._say(line)

    def anchored(self, drift: Drift) -> None:
        self._say(drift.in_one_line)

    def begins(self, name: str, version: str, place: Path) -> None:
        with self._lock:
            row = self._rows[name]
            row.state, row.started, row.last, row.first = "running", time.monotonic(), None, None
            row.tail = Tail.at_end(place / "live.jsonl")
        self._say(f"{name} starts ({self._summary()})")

    def ends(self, run: StageRun) -> None:
        with self._lock:
            row = self._rows[run.stage]
            row.state, row.seconds = run.outcome, run.seconds
        if run.outcome != "current":
            self._say(f"{run.stage} {'done' if run.outcome == 'ran' else run.outcome} in {in_words(run.seconds)}")

    def fails(self, error: StageError) -> None:
        with self._lock:
            row = self._rows[error.stage]
            row.seconds, row.state = row.elapsed(time.monotonic()), "failed"
        self._say(f"{error.stage} failed: {error.message}")

    def render(self):
        """The board as it is now."""
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        table = Table.grid(padding=(0, 2))
        with self._lock:
            self._read()
            for row in self._rows.values():
                elapsed = in_words(row.elapsed(now)) if row.state not in ("waiting", "current") else ""
                style = STYLES[row.state]
                name = Text(f"{MARKS[row.state]} {row.name}", style=style)
                table.add_row(name, Text(elapsed, style=style, justify="right"), Text(_how_far(row)))
            table.add_row(Text(""), Text(""), Text(self._summary(), style="bold"))
        return table

    def _summary(self) -> str:
        now = time.monotonic()
        with self._lock:
            rows = self._rows.values()
            done = sum(row.state in ("ran", "restored", "current") for row in rows)
            upstream, seconds = {row.name: row.upstream for row in rows}, {row.name: row.left(now) for row in rows}
        left = time_left(upstream, seconds, self._cores)
        text = f"{done} of {len(self._rows)} stages, {in_words(now - self._begun)} passed"
        return text if done == len(self._rows) else f"{text}, about {in_words(left)} to go"

    def _read(self) -> None:
        for row in self._rows.values():
            if row.state == "running" and row.tail:
                for report in row.tail.read():
                    row.first, row.last = row.first or report, report

    def _say(self, text: str) -> None:
        if self._live is None:
            self._console.print(f"[{in_words(time.monotonic() - self._begun)}] {text}")

    def _tick(self) -> None:
        while not self._stop.wait(PLAIN_SECONDS):
            with self._lock:
                self._read()
                running = [row for row in self._rows.values() if row.state == "running"]
                words = "; ".join(f"{row.name} {_how_far(row) or 'running'}" for row in running)
            if words:
                self._say(f"{words} ({self._summary()})")


def _how_far(row: Row) -> str:
    if row.state != "running" or row.last is None:
        return ""
    last = row.last
    filled = round(BAR_CELLS * last.done / max(last.total, 1))
    bar = "━" * filled + "─" * (BAR_CELLS - filled)
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in list(last.metrics.items())[:2])
    return f"{bar} {last.unit} {last.done}/{last.total}  {metrics}".rstrip()


def board_of(session, console=None) -> Board:
    """The board of a session: on a terminal a table, else lines, as in the log of a worker."""
    graph, last = session.graph, session.ledger.last()
    # What each took last time, else what dvc.yaml says.
    seconds = {name: last[name].seconds if name in last else stage.seconds for name, stage in graph.stages.items()}
    return Board(console or command.console(), graph.stages, seconds, session.cores)
