"""What every `plumb` command begins with: the project that is meant, and a console to print on."""

from pathlib import Path
from typing import Any


def console():
    """Where results are printed."""
    import sys

    from rich.console import Console

    # Tables need room; where nobody watches a terminal, lines may be as long as they like.
    return Console(emoji=False) if sys.stdout.isatty() else Console(width=160, emoji=False)


def project() -> Path:
    """The project around the working directory, with the libraries told what they must know before their import."""
    import os

    from flows import environment

    root = environment.project_root()
    environment.prepare(root)
    # DVC names files relative to where it is asked.
    os.chdir(root)
    return root


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
