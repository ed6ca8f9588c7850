"""What other machines made: the cache of runs at the DVC remote that params.yaml names as intake.remote."""

from __future__ import annotations

from pathlib import Path

import yaml

from flows.settings import read_sections
from flows.storage import data


def remote_of(root: Path) -> str | None:
    """The DVC remote that params.yaml names; None where it names none."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")) or {}
    return read_sections(root, "intake")["intake"].remote if "intake" in params else None


def meet(root: Path) -> str | None:
    """Fetch what that remote knows of runs; returns its name, or None where there is none that knows any.

    Raises PullError for one that does not answer.
    """
    remote = remote_of(root)
    if remote is None or not data.has_remote(root, remote):
        return None
    return remote if data.pull_runs(root, remote) else None
