"""What can go wrong in a stage, sorted by what the flow may do about it.

dvc's own exit code says nothing (always 255), so a failing stage leaves its error's kind in the file
that PLUMB_ERROR_FILE names. Only `transient` may pass by itself; a process killed by a signal leaves no file.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from pathlib import Path

# safetensors and torch.save, in this order
DISK_FULL_SIGNS = ("os error 28", "No space left", "inline_container")
OWN_CODE = tuple(Path(__file__).resolve().parents[2] / name for name in ("models", "tasks"))
ERROR_FILE_VARIABLE = "PLUMB_ERROR_FILE"


class StageError(ValueError):
    """An error with a message for the user; `kind` tells the flow whether a retry can help."""

    kind = "internal"


class ConfigError(StageError):
    """A parameter is missing, unknown or of the wrong type, or two of them disagree."""

    kind = "config"


class ManyErrors(ConfigError):
    """Several things are wrong: the message is a head, and a line for each."""


class DataError(StageError):
    """The input files or the model directory are not what the stage needs."""

    kind = "data"


class DriftError(DataError):
    """A judge no longer answers as it did."""


class DivergedError(StageError):
    """Training produced numbers that cannot be trained on further."""

    kind = "diverged"


class TransientError(StageError):
    """A server or a network failed in a way that can pass by itself."""

    kind = "transient"


def kind_of(error: BaseException) -> str:
    """The kind of any exception, in the words above."""
    if isinstance(error, StageError):
        return error.kind
    if _is_disk_full(error):
        return "disk"
    if isinstance(error, (ConnectionError, TimeoutError)):
        return "transient"
    if isinstance(error, FloatingPointError) and _raised_here(error):
        return "diverged"
    if isinstance(error, FileNotFoundError) or (isinstance(error, ValueError) and _raised_here(error)):
        return "data"
    return "internal"


def _raised_here(error: BaseException) -> bool:
    """Whether our own code raised it, with a message for the user; a library's ValueError wants its traceback."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    file = Path(place.tb_frame.f_code.co_filename) if place is not None else Path()
    return any(file.is_relative_to(folder) for folder in OWN_CODE)


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is a full disk; the writers of weights hide its number."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(sign in str(error) for sign in DISK_FULL_SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def one_line(error: BaseException) -> str:
    """The error as one line that a user can act on."""
    text = " ".join(str(error).split()) or type(error).__name__
    if kind_of(error) == "disk":
        return f"no space left on the disk ({text}): free some, then run again; finished stages are kept"
    return text if isinstance(error, (ValueError, FloatingPointError)) else f"{type(error).__name__}: {text}"


def report_failure(name: str, error: BaseException) -> int:
    """Say on stderr, and to whoever started us, why `name` failed; returns the exit code. Our own bugs show where."""
    if kind_of(error) == "internal":
        traceback.print_exception(error)
    print(f"{name}: {one_line(error)}", file=sys.stderr)
    leave_record(name, error)
    return 1


def leave_record(stage: str, error: BaseException) -> None:
    """Write the error where the flow looks for it, if it asked for that."""
    path = os.environ.get(ERROR_FILE_VARIABLE)
    if not path:
        return
    record = {"stage": stage, "kind": kind_of(error), "class": type(error).__name__, "message": one_line(error)}
    Path(path).write_text(json.dumps(record), encoding="utf-8")
