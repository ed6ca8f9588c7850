"""What may stand in a row of the inbox as a name: of the row, its root, who judged it."""

from __future__ import annotations

import re
from typing import Any

from tasks.common.rows import Row
from tasks.data.values import BadRow

SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@#=+-]{0,199}")
LONGEST_NAME = 200


def is_safe(name: Any) -> bool:
    """Whether a name can become part of a path and not leave its folder."""
    return isinstance(name, str | int) and not isinstance(name, bool) and bool(SAFE_ID.fullmatch(str(name)))


def own_id(given: Row) -> str | None:
    """The row's own id. Raises BadRow for one that is not safe."""
    if "id" not in given:
        return None
    if not is_safe(given["id"]):
        raise BadRow(f"its id has other signs than letters, digits and ._:@#=+-, or more than {LONGEST_NAME}")
    return str(given["id"])


def check_names(given: Row, fields: tuple[str, ...] = ("root", "category")) -> None:
    for key in fields:
        value = given.get(key, "")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadRow(f"its {key} is neither text nor a whole number")
        if len(str(value)) > LONGEST_NAME or not str(value).isprintable():
            raise BadRow(f"its {key} is longer than {LONGEST_NAME} characters, or has control characters")
