"""What may be promoted: model directories without code, without pickles, of an architecture that is allowed.

Looked at before anything is loaded, because loading is what runs foreign code: transformers does for an `auto_map`
when it is told to trust it, and MLflow tells it so for architectures that it does not know.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

PICKLE_SUFFIXES = {
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".h5", ".keras", ".npy", ".npz",
}  # fmt: skip
CODE_SUFFIXES = {".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh"}
PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
ZIP_START = b"PK\x03\x04"  # what torch.save writes
MLFLOW_FILE, MLFLOW_LOADER = "MLmodel", "mlflow.transformers"


def objections(directory: Path, architectures: Sequence[str]) -> list[str]:
    """Why the files below `directory` may not be promoted; empty when they may.

    architectures: the classes that config.json may name.
    """
    files = sorted(path for path in directory.rglob("*") if not path.is_dir())
    objected = [text for file in files for text in _file_objections(directory, file)]
    configs = [file for file in files if file.name == "config.json"]
    if not configs:
        objected.append("no config.json")
    for file in configs:
        objected += _architecture_objections(directory, file, architectures)
    if not any(file.suffix == ".safetensors" for file in files):
        objected.append("no *.safetensors")
    return objected


def _file_objections(directory: Path, file: Path) -> Iterator[str]:
    name = file.relative_to(directory).as_posix()
    suffix = file.suffix.lower()
    if suffix in CODE_SUFFIXES:
        yield f"{name} is code beside the weights"
    elif suffix in PICKLE_SUFFIXES or _starts_like_a_pickle(file):
        yield f"{name} may be a pickle, only safetensors are read"
    elif suffix == ".json" and "config" in file.name:
        if "auto_map" in _keys(_json(file)):
            yield f"{name} has an auto_map, which names code to run"
    elif file.name == MLFLOW_FILE:
        yield from _mlflow_objections(name, file)


def _starts_like_a_pickle(file: Path) -> bool:
    if file.suffix == ".safetensors":  # begins with a length, which may look like anything; its reader runs no code
        return False
    with file.open("rb") as handle:
        start = handle.read(4)
    return start.startswith(PICKLE_STARTS) or start == ZIP_START


def _architecture_objections(directory: Path, file: Path, architectures: Sequence[str]) -> Iterator[str]:
    name, config = file.relative_to(directory).as_posix(), _json(file)
    named = config.get("architectures") if isinstance(config, dict) else None
    if not named:
        yield f"{name} names no architecture"
    for architecture in named or []:
        if architecture not in architectures:
            yield f"{name} names {architecture}, which promote.allowed_architectures in params.yaml does not list"


def _mlflow_objections(name: str, file: Path) -> Iterator[str]:
    """MLflow imports whatever module its file names, and runs code that was logged along."""
    flavors = yaml.safe_load(file.read_text(encoding="utf-8")).get("flavors", {})
    for flavor, settings in flavors.items():
        if settings.get("code") or settings.get("model_code_path"):
            yield f"{name} brings code in its flavor {flavor}"
        if settings.get("loader_module", MLFLOW_LOADER) != MLFLOW_LOADER:
            yield f"{name} is loaded by {settings['loader_module']}, not by {MLFLOW_LOADER}"


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _keys(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _keys(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _keys(value)
