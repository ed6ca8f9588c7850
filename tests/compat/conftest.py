"""The tables of what outside forms, templates and architectures were tried, made from the tests that tried them.

A test records its row by the fixture `compat_row`; the run prints the tables, `--write-docs` writes them to
docs/compat/, and `--check-docs` fails where they differ from what stands there.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any, Callable

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "compat"
PROPERTY = "compat_row"
HEADS = {
    "data-forms": ("# Data forms that were tried", ("form", "seen in", "what becomes of it")),
    "chat-templates": ("# Chat templates that were tried", ("template", "end of an answer", "what holds")),
    "architectures": ("# Architectures that were tried", ("architecture", "log-probs from", "samples from", "goes through")),
}
NOTE = "Written by `make test-compat ARGS=--write-docs` from the tests in tests/compat/; do not edit."


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-docs", action="store_true", help="write the tables to docs/compat/")
    parser.addoption("--check-docs", action="store_true", help="fail where docs/compat/ differs from the tables")


@pytest.fixture
def compat_row(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """`compat_row(TABLE, *cells)`: what this test showed, as a row of docs/compat/TABLE.md. Call it last."""

    def record(table: str, *cells: str) -> None:
        assert len(cells) == len(HEADS[table][1]), f"a row of {table} has {len(HEADS[table][1])} cells"
        record_property(PROPERTY, [table, *cells])

    return record


@pytest.fixture
def freeze_day(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`freeze_day("2026-03-05")`: the clock that chat templates read stands at that day's noon."""

    def freeze(day: str) -> None:
        now = datetime.fromisoformat(f"{day}T12:00:00")
        clock = type("Clock", (), {"now": staticmethod(lambda: now)})
        from transformers.utils import chat_template_utils

        monkeypatch.setattr(chat_template_utils, "datetime", clock)

    return freeze


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for name, text in _tables(terminalreporter).items():
        terminalreporter.write_line(f"\n{text}")
        file = DOCS / f"{name}.md"
        if config.getoption("--write-docs"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif config.getoption("--check-docs") and (not file.is_file() or file.read_text(encoding="utf-8") != text):
            terminalreporter.write_line(f"{file} differs from this table; make test-compat ARGS=--write-docs", red=True)
            terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _tables(terminalreporter: Any) -> dict[str, str]:
    """Markdown by table, of all tests that passed, rows in the order of their first cell."""
    rows: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            if name == PROPERTY:
                rows[value[0]].add(tuple(value[1:]))
    return {table: _markdown(*HEADS[table], sorted(found)) for table, found in sorted(rows.items())}


def _markdown(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    lines += [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return "\n".join([title, "", NOTE, "", *(f"| {line} |" for line in lines)]) + "\n"
