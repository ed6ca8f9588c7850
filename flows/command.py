"""What `plumb` commands share: the project that is meant, a console, tables, and documents for other programs."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


def console(**options: Any):
    """Where results are printed, as they are: none of it is markup. options: of rich's Console."""
    import sys

    from rich.console import Console

    # Tables need room; where nobody watches a terminal, lines may be as long as they like.
    width = None if sys.stdout.isatty() else 160
    return Console(**{"width": width, "emoji": False, "markup": False, "highlight": False, **options})


def table(heads: Iterable[Any], rows: Iterable[Iterable[Any]], title: str | None = None):
    """A table for the console. A head is a text or rich's Column; a cell a text, (text, style) or rich's Text."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(*heads, title=Text(title) if title else None, title_justify="left", header_style="bold")
    for row in rows:
        shown.add_row(*(Text(*cell) if isinstance(cell, tuple) else Text(cell) for cell in row))
    return shown


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a table for a page."""
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def project() -> Path:
    """The project around the working directory, with the libraries told what they must know before their import."""
    import os

    from flows import environment

    root = environment.project_root()
    environment.prepare(root)
    # DVC names files relative to where it is asked.
    os.chdir(root)
    return root


def workspace(root: Path, settings: Sequence[str] | None, params: Path | None, console) -> Path:
    """The project itself, or the clone in which a run with other params happens; made the working directory."""
    import os

    if not settings and params is None:
        return root
    from flows import environment
    from flows.storage import workspace as clones

    text = clones.params_text(root, params, clones.parse_settings(settings or []))
    place = clones.open_workspace(root, environment.state_dir(root), text)
    os.chdir(place)
    console.print(f"Working in {place}", soft_wrap=True)
    return place


def mlflow_client():
    """MLflow's client, imported once `project` has told it where it is."""
    from mlflow import MlflowClient

    return MlflowClient()


def document_of(tool: str, **arguments: Any) -> dict[str, Any]:
    """What `python -m tasks.tools TOOL` prints as JSON: what needs torch is a process of its own.

    Arguments that are None are left to the tool's defaults. Raises ValueError with the line that it failed with.
    """
    import json
    import subprocess
    import sys

    given = json.dumps({name: value for name, value in arguments.items() if value is not None}, default=str)
    command = [sys.executable, "-m", "tasks.tools", tool, given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ValueError(lines[-1] if lines else f"{tool} ended with exit code {done.returncode}")
    return json.loads(done.stdout)


def show_document(document: Any, as_json: bool, show: Callable[[Any, Any], None]) -> None:
    """Print a document: as JSON for other programs, else as `show(document, console)` does."""
    import json

    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        show(document, console())
