"""Secrets that a test plants in the environment of `plumb`, and a search for them in everything that was stored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.import_closure import ROOT

SECRETS = {
    "OPENAI_API_KEY": "sk-planted-0123456789",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED012345678",
    "AWS_SECRET_ACCESS_KEY": "planted+aws/secret",
    "AWS_SESSION_TOKEN": "planted-session-token",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-password",
    "PREFECT_API_AUTH_STRING": "ada:planted-prefect-password",
    "JUDGE_TOKEN": "planted-judge-token",
}
# What a stage of the toy prints and fails with when it is told to leak.
LEAK = {"TOY_TRAIN": "leak", "TOY_SECRETS": ",".join(SECRETS)}
UNREDACTED = "from flows import redact\nredact.redact = lambda text: text\n"


def leaks(folder: Path, *outputs: str, secrets: Mapping[str, str] = SECRETS) -> list[tuple[str, str]]:
    """(where, which secret) of every secret in a file below `folder` or in an output."""
    texts = {"output": "".join(outputs).encode()}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            texts[str(path.relative_to(folder))] = path.read_bytes()
    return [(where, name) for where, text in texts.items() for name, value in secrets.items() if value.encode() in text]


def without_redaction(folder: Path) -> dict[str, str]:
    """The environment in which every process of ours redacts nothing."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(UNREDACTED)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
