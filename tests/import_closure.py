"""The files of this project that a stage's code imports, found in the source, and what dvc.yaml must list for them.

`python -m tests.import_closure` writes them there, and docs/reruns.md.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("models", "tasks", "flows")
REFERENCE = re.compile(r"\w+(\.\w+)+:\w+")  # module:object, as models/registry.py resolves it
RERUNS = """# Which stages run again for a change in each package

From dvc.yaml, by `python -m tests.import_closure`; a test compares. A number in brackets: for a change in so many of
the package's modules. A stage after one that ran again runs only if what that one wrote is different. A change in a stage's
own file at the top of tasks/ makes that stage run again, and one in flows/ none.

| Package | Modules | Stages |
|---|---|---|"""
WHOLE = 1 / 3  # of a package's modules: less, and training would start again for what it does not use


def _imported(file: Path) -> set[Path]:
    files: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and REFERENCE.fullmatch(node.value):
            names = [node.value.partition(":")[0]]
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: imports are absolute here"
            continue
        for name in names:
            if name.split(".")[0] in PACKAGES:
                files |= _files_of(name)
    return files


def _files_of(module: str) -> set[Path]:
    """The module's file, and the `__init__.py` of the packages around it where they hold code."""
    parts = module.split(".")
    base = ROOT.joinpath(*parts)
    files = {base.with_suffix(".py")} | {ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)}
    return {file for file in files if file.is_file() and _has_code(file)}


def _has_code(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def closure(file: Path) -> list[str]:
    """Paths relative to the project, sorted; `file` is among them."""
    seen, todo = set(), {file}
    while todo:
        current = todo.pop()
        seen.add(current)
        todo |= _imported(current) - seen
    return sorted(path.relative_to(ROOT).as_posix() for path in seen)


def dependencies(file: Path) -> list[str]:
    """What dvc.yaml lists for the closure of `file`: modules, and packages of which it takes `WHOLE` or more."""
    listed, by_package = [], defaultdict(list)
    for path in closure(file):
        by_package[PurePosixPath(path).parent.as_posix()].append(path)
    for package, paths in by_package.items():
        modules = [path for path in (ROOT / package).glob("*.py") if not path.name.startswith("__")]
        whole = package not in PACKAGES and len(paths) > 1 and len(paths) >= WHOLE * len(modules)
        listed += [package] if whole else paths
    return sorted(path for path in listed if not any(path.startswith(f"{other}/") for other in listed))


def rewritten(text: str) -> str:
    """dvc.yaml with each stage's code dependencies, after its other ones, as its imports have them now."""
    stage, written = "", []
    for line in text.split("\n"):
        if name := re.fullmatch(r"  (\w+):", line):
            stage, written_code = name[1], False
        code = re.fullmatch(r"( +)- (models|tasks|flows)/\S+", line)
        if not code:
            written.append(line)
        elif not written_code:
            written += [f"{code[1]}- {path}" for path in dependencies(ROOT / "tasks" / f"{stage}.py")]
            written_code = True
    return "\n".join(written)


def reruns(pipeline: Mapping[str, Any]) -> str:
    """docs/reruns.md: which stages of a parsed dvc.yaml run again for a change in each package."""
    code = {}
    for name, entry in pipeline["stages"].items():
        code[name] = [path for path in entry.get("do", entry)["deps"] if path.split("/")[0] in PACKAGES]
    lines = [RERUNS]
    for package in sorted({file.parent for top in PACKAGES[:2] for file in (ROOT / top).glob("*/*.py")}):
        files = [file.relative_to(ROOT).as_posix() for file in package.glob("*.py") if not file.name.startswith("__")]
        read = {name: sum(file.startswith(tuple(f"{path}/" for path in paths)) or file in paths for file in files)
                for name, paths in code.items()}
        stages = [name if count == len(files) else f"{name} ({count})" for name, count in read.items() if count]
        lines.append(f"| {package.relative_to(ROOT)} | {len(files)} | {', '.join(stages) or '–'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "dvc.yaml").write_text(rewritten((ROOT / "dvc.yaml").read_text(encoding="utf-8")), encoding="utf-8")
    written = reruns(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")))
    (ROOT / "docs" / "reruns.md").write_text(written, encoding="utf-8")
