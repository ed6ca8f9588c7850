"""A clone of one commit, in which a retraining happens: the files of the commit and nothing that is not committed.

It shares the DVC cache and the state folder with the project, so that whatever was made before is restored.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from flows.git import git
from flows.storage import removing
from flows.storage.workspace import (
    absolute_paths, change_params, check_params, clone_shared, local_settings, project_in, share_dvc,
)  # fmt: skip

PREFIX = "commit-"
OF_THE_PROJECT = ("intake", "gc")  # sections that no clone reads: inbox, remote, what is kept


def open_commit(
    root: Path, state: Path, commit: str, changes: Mapping[str, str], replaced: Mapping[str, str] | None = None
) -> Path:
    """The clone with the files of `commit` and no others, its params changed; the same one when asked again.

    What is not committed stays out. replaced: other files with their text. Raises ValueError for params that are wrong,
    naming the key.
    """
    replaced = replaced or {}
    text = params_of(root, commit, changes)
    name = hashlib.sha256(f"{root} {commit} {text} {sorted(replaced.items())}".encode()).hexdigest()[:12]
    clone = state / "workspaces" / f"{PREFIX}{name}"
    # The project's own place is in the name: a clone shares objects and cache by absolute paths.
    if not clone.exists():
        clone.parent.mkdir(parents=True, exist_ok=True)
        partial = clone.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        clone_shared(root, partial)
        git(partial, "checkout", "--quiet", "--detach", commit)
        place = project_in(root, partial)
        share_dvc(root, place)
        if (place / "tasks").is_dir():
            check_params(text, Path("params.yaml"))
        (place / "params.yaml").write_text(absolute_paths(text, root, place), encoding="utf-8")
        for file, content in replaced.items():
            (place / file).write_text(content, encoding="utf-8")
        partial.rename(clone)
    clone.touch()
    return project_in(root, clone)


def params_of(root: Path, commit: str, changes: Mapping[str, str]) -> str:
    """params.yaml of a commit, changed.

    Raises ValueError for a param that is not there, and for one that could not hold for all of a run.
    """
    for name in changes:
        section = name.partition(".")[0]
        if section in OF_THE_PROJECT:
            raise ValueError(
                f"{name} cannot be changed for one run: the section {section} of params.yaml is the project's; "
                "edit it there"
            )
    text = git(root, "show", f"{commit}:./params.yaml")
    return change_params(text, changes) if changes else text


def forget_commits(state: Path, keep: int) -> None:
    """Remove the clones of commits, but for the `keep` that were opened last: all they made is in the cache."""
    clones = sorted((state / "workspaces").glob(f"{PREFIX}*"), key=lambda clone: clone.stat().st_mtime)
    for clone in clones[: max(len(clones) - keep, 0)]:
        removing.remove(clone)


def set_default_remote(clone: Path, name: str) -> None:
    """Make `name` the default DVC remote of a clone."""
    settings = local_settings(clone)
    settings.setdefault("core", {})["remote"] = name
    settings.write()
