"""A packaged directory by the hash that DVC knows it by, from the cache or else from a remote.

Not from the workspace: that may hold another run's by the time a promotion looks.
"""

from pathlib import Path

from flows.history import registry


def write_out(root: Path, version: registry.Version, target: Path) -> Path:
    """The packaged directory of a registered version as a new directory; returns it. Half of one never lies there.

    Raises ValueError for a directory that is there already, or a version that was not packaged by us.
    """
    if target.exists():
        raise ValueError(f"{target} is there already; name a directory that is not")
    if registry.PACKAGE not in version.tags:
        raise ValueError(f"{version.uri} was not registered by plumb promote: it has no packaged directory")
    partial = target.with_name(f".{target.name}.partial")
    fetch(root, version.tags[registry.PACKAGE], partial).rename(target)
    return target


def fetch(root: Path, md5: str, target: Path) -> Path:
    """Write the directory with this md5 (it ends in .dir) to `target`; returns it.

    root: a project with the DVC cache and remotes in which it was made.
    Raises ValueError when neither the cache nor a remote has it.
    """
    from dvc_data.hashfile.checkout import checkout

    repo, tree = _cached(root, md5)
    checkout(str(target), repo.fs, tree, repo.cache.local, force=True)
    return target


def ensure(root: Path, md5: str) -> list[int]:
    """Have the directory with this md5 in the DVC cache; returns the sizes of its files, in bytes.

    Raises ValueError when neither the cache nor a remote has it.
    """
    repo, tree = _cached(root, md5)
    cache = repo.cache.local
    return [cache.fs.size(cache.oid_to_path(info.value)) for _, (_, info) in tree.iteritems()]


def _cached(root: Path, md5: str):
    """(the repository, the directory's listing), with every file in the cache."""
    from dvc.repo import Repo
    from dvc_data.hashfile import load
    from dvc_data.hashfile.hash_info import HashInfo

    repo, info = Repo(str(root)), HashInfo("md5", md5)
    cache = repo.cache.local
    problems = []
    for remote in [] if _is_whole(cache, info) else _remotes(repo):
        problems += _pull(repo, info, remote)
        if _is_whole(cache, info):
            break
    if not _is_whole(cache, info):
        why = f" ({'; '.join(problems)})" if problems else ""
        raise ValueError(f"the package {md5} is neither in the DVC cache of {root} nor in a remote; dvc push it{why}")
    return repo, load(cache, info)


def _remotes(repo) -> list[str]:
    """The default remote first: that is where a team pushes to; here it may be the read-only sample."""
    default = repo.config["core"].get("remote")
    return sorted(repo.config["remote"], key=lambda name: name != default)


def _pull(repo, info, remote: str) -> list[str]:
    """Try one remote; returns what went wrong, if anything."""
    from dvc_data.hashfile.transfer import transfer

    try:
        transfer(repo.cloud.get_remote_odb(remote), repo.cache.local, {info}, shallow=False)
    except Exception as error:  # noqa: BLE001  every remote has errors of its own, and the next one may have the files
        return [f"{remote}: {' '.join(str(error).split())[:200]}"]
    return []


def _is_whole(cache, info) -> bool:
    from dvc_data.hashfile import check, load
    from dvc_objects.errors import ObjectFormatError

    try:
        check(cache, load(cache, info))
    except (FileNotFoundError, ObjectFormatError):
        return False
    return True
