"""Who serves, as a file that the stages depend on: `data/champion.dvc` names the package of the registry's champion.

It is looked up once, here, before a run; evaluate and gate then compare with exactly those bytes, and DVC sees when the
champion changed. Until there is a champion the pointer names a directory that says so.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from flows.graph import stage_inputs
from flows.history import registry
from flows.history.registry import Version
from flows.serving import package_files
from flows.settings import read_settings

DATA = stage_inputs.CHAMPION
POINTER = Path(f"{DATA}.dvc")
NOBODY_MD5 = "3dd181105f084a74b9ff5f50fa69d09a.dir"  # a directory with none.json alone
NOBODY_BYTES = 19


def point(root: Path, version: Version | None) -> str:
    """Let the pointer of the project name the package of this version, or nobody; returns the md5 that it names now.

    Raises ValueError when the package is neither in the DVC cache nor in a remote, or the project has no such pointer.
    """
    path = root / POINTER
    if not path.is_file():
        raise ValueError(f"{root} has no {POINTER}, so its gate cannot compare with the champion")
    md5 = version.tags[registry.PACKAGE] if version else NOBODY_MD5
    text = path.read_text(encoding="utf-8")
    if named_by(text) == md5:
        return md5
    files = package_files.ensure(root, md5) if version else [NOBODY_BYTES]
    path.write_text(naming(text, md5, size=sum(files), nfiles=len(files)), encoding="utf-8")
    return md5


def named_by(pointer: str) -> str:
    """The md5 that a pointer's text names."""
    return yaml.safe_load(pointer)["outs"][0]["md5"]


def naming(pointer: str, md5: str, **more: int | str) -> str:
    """The pointer's text with this md5 in it; `more` is what else DVC is to know of it: size and nfiles, or the remote.

    What it said of another package goes.
    """
    document = yaml.safe_load(pointer)
    (out,) = document["outs"]
    document["outs"] = [{"md5": md5, **more, "hash": "md5", "path": out["path"]}]
    return yaml.safe_dump(document, sort_keys=False)


def point_at_registry(root: Path) -> Version | None:
    """The same with whoever is champion now, who is returned."""
    from mlflow import MlflowClient

    champion = registry.read(MlflowClient(), read_settings(root).promote.model_name).champion
    point(root, champion)
    return champion
