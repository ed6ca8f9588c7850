"""What every `plumb` command begins with: the project that is meant, and a console to print on."""

from pathlib import Path


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
