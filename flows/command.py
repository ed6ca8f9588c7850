"""What every `plumb` command begins with: the project that is meant, and a console to print on."""

from collections.abc import Sequence
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


def document_of(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What `python -m MODULE` prints as JSON: what needs torch is a process of its own.

    Raises ValueError with the line that it failed with.
    """
    import json
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ValueError(lines[-1] if lines else f"{module} ended with exit code {done.returncode}")
    return json.loads(done.stdout)
