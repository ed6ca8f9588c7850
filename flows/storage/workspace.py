"""A run with other params happens in a clone of its own: the params.yaml in front of the user is never edited.

The clone shares the DVC cache, the state folder (checkpoints, ledger) and the MLflow store, so whatever does not depend
on the changed params is restored and not made again.
"""

import difflib
import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.git import GitError, git
from flows.settings import refuse_secrets
from tasks.common.plain_yaml import parse_yaml
from tasks.common.yaml_versions import two_readings
from tasks.runner.params import read_params

# Settings of a DVC remote that a clone takes over from the project's own config.local.
CARRIED = ("url", "endpointurl", "region", "profile", "configpath", "credentialpath", "use_ssl", "ssl_verify")


def open_workspace(root: Path, state: Path, params: str) -> Path:
    """The clone for this params text, brought up to the files of `root` as they are now (uncommitted changes too).

    Raises ValueError when `root` is no git repository.
    """
    clone = state / "workspaces" / hashlib.sha256(params.encode()).hexdigest()[:12]
    if not (clone / ".git").exists():
        shutil.rmtree(clone, ignore_errors=True)
        clone.parent.mkdir(parents=True, exist_ok=True)
        # No checkout: the files are copied as they are, with what is not committed yet.
        partial = clone.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        clone_shared(root, partial)
        partial.rename(clone)
    share_objects(root, clone)
    _copy_files(repository(root), clone)
    # The objects are shared, so the clone can stand where `root` stands: MLflow records the right commit.
    git(clone, "reset", "--quiet", git(root, "rev-parse", "HEAD"))
    place = project_in(root, clone)
    share_dvc(root, place)
    (place / "params.yaml").write_text(absolute_paths(params, root, place), encoding="utf-8")
    return place


def repository(root: Path) -> Path:
    """The top of the git repository that the project lies in: its own folder, or one above in a monorepo.

    Raises ValueError when there is none.
    """
    try:
        return Path(git(root, "rev-parse", "--show-toplevel"))
    except GitError as error:
        raise ValueError(f"a run with other params needs git: {error}") from None


def project_in(root: Path, clone: Path) -> Path:
    """Where the project `root` lies in a clone of its repository."""
    return clone / root.relative_to(repository(root))


def clone_shared(root: Path, clone: Path) -> None:
    """A clone of the project's repository without files, whose objects are those of the repository."""
    git(root, "clone", "--quiet", "--shared", "--no-checkout", str(repository(root)), str(clone))


def share_objects(root: Path, clone: Path) -> None:
    """Have a clone find the objects of `root` where they are now: git wrote down where they were."""
    objects = (root / git(root, "rev-parse", "--git-path", "objects")).resolve()
    alternates = clone / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"{objects}\n", encoding="utf-8")


def change_params(text: str, changes: Mapping[str, str], source: str = "params.yaml") -> str:
    """The params file `text` with dotted names set to YAML values; comments stay. `source` names it in errors.

    Raises ValueError with one line for a value that is no YAML, and for a name that is not there, with the nearest
    that is.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.representer.add_representer(float, _represent_float)
    yaml.representer.add_representer(str, _represent_text)
    tree = yaml.load(text)
    for name, value in changes.items():
        *parents, last = name.split(".")
        place = tree
        for parent in parents:
            place = place[_key(place, parent)] if _has(place, parent) else None
        if not _has(place, last):
            raise ValueError(f"{source} has no {name}{_nearest(name, tree)}")
        place[_key(place, last)] = _value(name, value)
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _key(place: Any, part: str) -> str | int:
    """A part of a dotted name as what it is in its place: the number of a list's item, counted from 0, or a key."""
    return int(part) if isinstance(place, list) else part


def _has(place: Any, part: str) -> bool:
    if isinstance(place, list):
        return part.isdecimal() and int(part) < len(place)
    return isinstance(place, Mapping) and part in place


def _value(name: str, text: str) -> Any:
    """The value as DVC reads it; it is written so that the stages read the same.

    What is text for them, as 1e-5, can be meant as the number; where they would read a value of another kind, it is
    refused.
    """
    import yaml
    from ruamel.yaml import YAML, YAMLError

    try:
        value, root = YAML(typ="safe").load(text), yaml.compose(text, yaml.SafeLoader)
    except (YAMLError, yaml.YAMLError, ValueError):
        problem = f"--set {name}={text}: {text} is not a YAML value"
        raise ValueError(f"{problem}; write a list as [1, 2], and text with special signs in quotes") from None
    for reading in two_readings(root) if root else ():
        if not isinstance(reading.older, str):
            key = ".".join(part for part in (name, reading.key) if part)
            raise ValueError(f"--set {name}={text}: {replace(reading, key=key)}")
    return value


def parse_settings(settings: list[str]) -> dict[str, str]:
    """["dpo.beta=0.2"] as {"dpo.beta": "0.2"}. Raises ValueError for what has no `=`."""
    changes = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"--set {setting}: write it as --set section.key=value, for example --set dpo.beta=0.2")
        changes[name.strip()] = value.strip()
    return changes


def params_text(root: Path, file: Path | None, changes: Mapping[str, str]) -> str:
    """The params of a run: those of `file` (else params.yaml) with `changes`, checked as a whole.

    Raises ValueError with one line naming the key.
    """
    source = file or root / "params.yaml"
    if not source.is_file():
        raise ValueError(f"{source} does not exist; name a params file like {root / 'params.yaml'}")
    text = source.read_text(encoding="utf-8")
    if not isinstance(parse_yaml(text, str(source)), Mapping):
        raise ValueError(f"{source} must be a mapping of sections, as {root / 'params.yaml'} is")
    if changes:
        text = change_params(text, changes, source.name)
    refuse_secrets(text, "--set" if changes else str(source))
    if (root / "tasks").is_dir():
        check_params(text, source)
    return text


def check_params(text: str, source: Path) -> None:
    """Raises ValueError with one line for a params file that is wrong; `source` is its name in it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            read_params(file)
        except ValueError as error:
            raise ValueError(str(error).replace(str(file), str(source))) from None


def _represent_float(representer, value: float):
    text = repr(value)
    if "e" in text and "." not in text:
        # YAML 1.1, which the stages read, takes 1e-05 for a word.
        text = text.replace("e", ".0e")
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(representer, value: str):
    """Text that YAML 1.1 would read as something else, as off and 1:30, in quotes."""
    import yaml

    tag = "tag:yaml.org,2002:str"
    plain = yaml.SafeLoader("").resolve(yaml.ScalarNode, value, (True, False)) == tag
    return representer.represent_scalar(tag, value, style=None if plain else '"')


def _nearest(name: str, tree: Mapping[str, Any]) -> str:
    from flows.graph.stages import flatten

    close = difflib.get_close_matches(name, flatten(tree), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _copy_files(root: Path, clone: Path) -> None:
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    wanted = {name for name in listed if name and (root / name).is_file()}
    known = {name for name in git(clone, "ls-files", "-z", "--cached").split("\0") if name}
    # What the clone has made is its own, also where a team commits its dvc.lock.
    locks = {name for name in known | wanted if Path(name).name == "dvc.lock" and (clone / name).exists()}
    for name in known - wanted - locks:
        (clone / name).unlink(missing_ok=True)
    wanted -= locks
    for name in wanted:
        source, target = root / name, clone / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def share_dvc(root: Path, clone: Path) -> None:
    """Point the clone at the cache and the remotes of `root`, as its local settings have them, but without any secret.

    Relative addresses would mean the clone's own.
    """
    from dvc.config import Config

    config = Config(str(root / ".dvc"), validate=False)
    cache = (root / ".dvc" / config.get("cache", {}).get("dir", "cache")).resolve()
    settings = local_settings(clone)
    settings.clear()
    settings["cache"] = {"dir": str(cache)}
    default = config.get("core", {}).get("remote")
    if default:
        settings["core"] = {"remote": default}
    for name, remote in config.get("remote", {}).items():
        url = str(remote.get("url", ""))
        if url and "://" not in url:
            remote = {**remote, "url": (root / ".dvc" / url).resolve()}
        settings[f'remote "{name}"'] = {key: str(remote[key]) for key in CARRIED if key in remote}
    settings.write()


def local_settings(root: Path):
    """DVC's local settings of a project, to be changed and written.

    By the library that DVC reads them with, which quotes commas, signs of comments, spaces and quotes; DVC's own
    writing ends at letters that are not ASCII.
    """
    from configobj import ConfigObj

    return ConfigObj(str(root / ".dvc" / "config.local"), encoding="utf-8", interpolation=False)


def absolute_paths(params: str, root: Path, clone: Path) -> str:
    """Relative paths out of git's files (a model, a data folder) as absolute ones: the clone lies elsewhere."""
    import yaml

    moved = {
        name: str((root / value).resolve())
        for name, value in _texts(yaml.safe_load(params))
        if "/" in value and not Path(value).is_absolute()
        if (root / value).exists() and not _comes_along(root, clone, value)
    }
    return change_params(params, moved) if moved else params


def _texts(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, text) of every text in params, those of lists as well: a judge's path, its template, its file."""
    if isinstance(tree, str):
        yield prefix.removesuffix("."), tree
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _texts(value, f"{prefix}{key}.")


def _comes_along(root: Path, clone: Path, value: str) -> bool:
    return (clone / value).exists() or (root / f"{value}.dvc").exists()

