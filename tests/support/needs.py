"""What tests need from outside this repository: in CI its absence fails, where a user runs them it is skipped and said.

CI is known by the variable CI, which .ci/run sets.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str, way_out: str) -> NoReturn:
    """End the test because something is not there; `way_out` says how to get it."""
    text = f"{what}; {way_out}"
    if os.environ.get("CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
