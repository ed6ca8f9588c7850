"""`python -m benchmarks.child MODULE:FUNCTION FILE`: one measurement in a process of its own, whose memory is its own.

FILE holds the function's keyword arguments as JSON, and afterwards what it returned.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Peer:
    """TRL of some `version` in a folder of its own, on the path of those children alone that need its `part`.

    `target`: of the Makefile, which installs it. `module`: where the part lies in trl.experimental.
    """

    folder: Path
    version: str
    part: str
    module: str
    target: str

    def environment(self) -> dict[str, str]:
        """Raises ValueError where that TRL is missing."""
        if not (self.folder / "trl" / "experimental" / self.module).is_dir():
            raise ValueError(f"{self.folder} has no TRL with {self.part}; `make {self.target}` installs TRL"
                             f" {self.version} there")  # fmt: skip
        return {"PYTHONPATH": str(self.folder)}


def command(function: str, arguments: Mapping[str, Any], file: Path) -> list[str]:
    """The child's command line; `file` then holds the arguments."""
    file.write_text(json.dumps(arguments), encoding="utf-8")
    return [sys.executable, "-m", "benchmarks.child", function, str(file)]


def run(function: str, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """What the function returned. Raises RuntimeError when the process fails; it ends with what that wrote."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "child.json"
        done = subprocess.run(command(function, arguments, file), cwd=ROOT, env={**os.environ, **environment},
                              capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{arguments.get('task', function)} failed:\n{done.stderr[-3000:]}")
        return json.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    name, file = sys.argv[1], Path(sys.argv[2])
    module, _, function = name.partition(":")
    result = getattr(import_module(module), function)(**json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(result), encoding="utf-8")
