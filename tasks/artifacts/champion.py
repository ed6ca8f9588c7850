"""The model in service, as the directory `data/champion`: a packaged model, or a note that there is none yet.

Who serves is looked up once, by the flow that retrains, and written as a pointer with its hash; stages only read files.
"""

from __future__ import annotations

import json
from pathlib import Path

from tasks.common.errors import DataError

CHAMPION = "champion"
NONE_FILE = "none.json"  # stands alone in the directory while nothing is in service
ORIGIN_FILE = "plumbline.json"  # in a packaged directory: which policy it was made from


def is_there(champion: Path) -> bool:
    """Whether a model is in service."""
    return not (champion / NONE_FILE).is_file()


def identity(champion: Path) -> str:
    """The content hash of the policy that the champion was packaged from, by which the registry knows it.

    Raises DataError for a directory that `package` did not write.
    """
    file = champion / ORIGIN_FILE
    if not file.is_file():
        raise DataError(
            f"{champion} has no {ORIGIN_FILE}: it is no packaged model; point data/champion.dvc at a package"
        )
    return json.loads(file.read_text(encoding="utf-8"))["policy"]
