"""git, called so that it never waits for a person, with its failures as one line."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from flows.failure import Failure
from flows.redact import redact

SECONDS = 600
OVER_THE_NETWORK = ("fetch", "ls-remote", "push")


class GitError(Failure):
    """git refused."""


def git(folder: Path, *arguments: str, **more: str) -> str:
    """What `git ARGUMENTS` in `folder` prints, without the end of its last line; `more` are environment variables.

    Raises GitError naming the command and what git said.
    """
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, env=_environment(more), capture_output=True, text=True, timeout=SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        slow = f"`git {arguments[0]}` in {folder} took longer than {SECONDS} s; check the network"
        raise GitError(slow, may_pass=True) from None
    if answer.returncode != 0:
        complaint = redact(" ".join(answer.stderr.split()))[-500:] or f"exit code {answer.returncode}"
        full = "No space left" in complaint or "Disk quota" in complaint
        message = f"`git {arguments[0]}` in {folder} said: {complaint}"
        if full:
            message = f"no space left for git in {folder}: free some, then run again"
        raise GitError(message, may_pass=arguments[0] in OVER_THE_NETWORK and "rejected]" not in complaint)
    return answer.stdout.rstrip("\n")


def answers(folder: Path, *arguments: str) -> bool:
    """Whether git says yes."""
    try:
        git(folder, *arguments)
    except GitError:
        return False
    return True


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    # A hook that starts us says where its own repository is.
    others = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    return environment | more
