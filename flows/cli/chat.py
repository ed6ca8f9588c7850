"""`plumb chat`: find the model that is meant and hand the terminal to the process that loads it."""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from flows.history import registry
from flows.settings import read_sections

MODEL_FOLDER, TOKENIZER_FOLDER = "model", "components/tokenizer"  # as MLflow lays a transformers model out


def chat(root: Path, state: Path, target: str | None) -> None:
    """Become the chat process. Raises ValueError with one line for a model that does not exist."""
    params = read_sections(root, "serving", "runtime", "promote")
    model, tokenizer = find(root, state, target, params["promote"].model_name)
    options = {
        "--model": model,
        "--tokenizer": tokenizer,
        "--temperature": params["serving"].temperature,
        "--max-new-tokens": params["serving"].max_new_tokens,
        "--seed": params["runtime"].seed,
    }
    words = [str(word) for option in options.items() for word in option]
    # Not a child: the terminal, Ctrl-C and the exit code are the chat's own.
    os.execv(sys.executable, [sys.executable, "-m", "tasks.tools.chat", *words])


def find(root: Path, state: Path, target: str | None, model_name: str) -> tuple[Path, Path]:
    """(model directory, tokenizer directory) of `target`: models:/NAME@ALIAS, a directory, or None.

    None is the champion, or before there is one the package that the last run made.
    """
    if target and not target.startswith("models:"):
        directory = Path(target)
        if not directory.is_dir():
            raise ValueError(f"{target} is no directory; name one or a registered model: models:/{model_name}@champion")
        return directory, directory
    from mlflow import MlflowClient

    client = MlflowClient()
    if target is None:
        package = root / "artifacts" / "package"
        champion = registry.read(client, model_name).champion
        if champion is None and package.is_dir():
            return package, package
        if champion is None:
            missing = f"{model_name} has no champion and there is no {package}"
            raise ValueError(f"{missing}; run plumb align, or name a directory")
        target = champion.uri
    directory = downloaded(client, registry.resolve(client, target), state)
    return directory / MODEL_FOLDER, directory / TOKENIZER_FOLDER


def downloaded(client, version: registry.Version, state: Path) -> Path:
    """The files of a registered version: where MLflow keeps them if that is on this machine, else a copy made once."""
    import mlflow

    local = registry.local_files(client, version)
    if local is not None:
        return local
    folder = state / "models" / hashlib.sha256(f"{version.uri} {version.source}".encode()).hexdigest()[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            os.replace(mlflow.artifacts.download_artifacts(version.uri, dst_path=partial), folder)
    return folder
