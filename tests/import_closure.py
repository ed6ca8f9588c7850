"""The files of this project that a stage's code imports, found in the source, and what dvc.yaml must list for them.

`python -m tests.import_closure` writes them there.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
PACKAGES = ("models", "tasks", "flows")
REFERENCE = re.compile(r"\w+(\.\w+)+:\w+")  # module:object, as models/registry.py resolves it
WHOLE = 1 / 3  # of a package's modules: less, and training would start again for what it does not use


def _imported(file: Path) -> set[Path]:
    found: set[Path] = set()
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
                found |= _files_of(name)
    return found


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


if __name__ == "__main__":
    (ROOT / "dvc.yaml").write_text(rewritten((ROOT / "dvc.yaml").read_text(encoding="utf-8")), encoding="utf-8")
