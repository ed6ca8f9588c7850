"""The data and the base model that the clone does not have yet, from the default remote; and new data, to a remote."""

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path

import yaml

from flows.failure import Failure, in_one_line

NETWORK_ERRORS = {
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH,
    errno.EBUSY,  # what s3fs makes of SlowDown
}  # fmt: skip


LOST_BY_DVC = "?{}"  # it ends an address at ?, and its progress bar takes what is in braces for a name


class PullError(Failure):
    """The data could not be fetched. `may_pass` when it failed on the way to a remote that could come back."""


class PushError(Failure):
    """The data could not be tracked or stored."""


def pointers(root: Path) -> list[Path]:
    """The *.dvc files of the project's data folder: what is pulled, by name."""
    return sorted((root / "data").rglob("*.dvc"))


def missing(root: Path, among: list[Path] | None = None) -> list[Path]:
    """The pointers (of all, or of `among`) whose data is not in the workspace, or is other data."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    candidates = pointers(root) if among is None else among
    if not candidates:
        return []
    repo = Repo(str(root))
    wanted = []
    for pointer in candidates:
        try:
            (stage,) = repo.stage.load_all(str(pointer))
        except DvcException as error:
            raise PullError(f"{pointer}: {in_one_line(error)}", may_pass=False) from error
        if any(out.changed_checksum() if out.exists else True for out in stage.outs):
            wanted.append(pointer)
    return wanted


def pull(root: Path, among: list[Path] | None = None) -> list[Path]:
    """Fetch what is missing of all pointers, or of `among`; returns the pointers that were fetched.

    Raises PullError with one line naming the remote.
    """
    wanted = missing(root, among)
    if not wanted:
        return []
    from dvc.repo import Repo

    repo = Repo(str(root), _wait_for_lock=True)
    name, url = _default_remote(repo)
    names = ", ".join(str(pointer.relative_to(root)) for pointer in wanted)
    try:
        repo.pull(targets=[str(pointer) for pointer in wanted])
    except Exception as error:
        raise _pull_error(error, names, name, url) from error
    return wanted


def track(root: Path, pointer: Path, remote: str) -> None:
    """`dvc add` the data of a pointer as it is now in the workspace, to be kept at `remote`.

    A remote other than the default one is written into the pointer, so that a plain `dvc pull` finds the data there.
    Raises PushError with what dvc said.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    repo = Repo(str(root), _wait_for_lock=True)
    repo.scm_context.quiet = True
    try:
        with _failed_transfers() as causes:
            repo.add([str(pointer.with_suffix(""))])
    except DvcException as error:
        raise PushError(f"dvc cannot track {pointer.stem}: {in_one_line(error)}") from error
    if causes:
        # dvc goes on, with a pointer to what is nowhere.
        place = repo.cache.local.path
        if _is_full_disk(causes):
            raise PushError(f"no space left in the DVC cache {place}: free some, then run again")
        raise PushError(f"dvc cannot put {pointer.stem} into its cache {place}: {in_one_line(causes[0])}")
    document = yaml.safe_load(pointer.read_text(encoding="utf-8"))
    for out in document["outs"]:
        out.pop("remote", None)
        if remote != repo.config["core"].get("remote"):
            out["remote"] = remote
    pointer.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def push(root: Path, pointer: Path, remote: str) -> None:
    """Push the data of a pointer to `remote`.

    Raises PushError with one line naming the remote.
    """
    from dvc.repo import Repo

    repo = Repo(str(root), _wait_for_lock=True)
    settings = repo.config["remote"].get(remote)
    if settings is None:
        known = ", ".join(repo.config["remote"]) or "none"
        raise PushError(f"there is no DVC remote {remote!r} (known: {known}); set intake.remote, or dvc remote add")
    _check_address(remote, str(settings.get("url")))
    try:
        with _failed_transfers() as causes:
            repo.push(targets=[str(pointer)], remote=remote)
            (stage,) = repo.stage.load_all(str(pointer))
            # dvc stores a folder's listing last, and leaves it out without a word when a file of the folder is nowhere.
            whole = all(repo.cloud.get_remote_odb(remote).exists(out.hash_info.value) for out in stage.outs)
    except Exception as error:
        raise _push_error([*causes, *_causes(error)], remote, str(settings.get("url"))) from error
    if not whole:
        raise PushError(f"the remote {remote!r} did not get all files of {pointer.stem}; dvc pull them here first")


def _check_address(remote: str, url: str) -> None:
    """Raises PushError for an address under which DVC keeps nothing, or keeps it elsewhere without a word."""
    signs = [sign for sign in LOST_BY_DVC if sign in url]
    if "://" in url and signs:
        raise PushError(
            f"DVC cannot store at {url}, the remote {remote!r}: it loses {' '.join(signs)} in an address; choose "
            f"another prefix (dvc remote modify {remote} url)"
        )


def has_remote(root: Path, remote: str) -> bool:
    """Whether the project has a DVC remote of this name."""
    from dvc.repo import Repo

    return remote in Repo(str(root)).config["remote"]


def push_all(root: Path, remote: str) -> int:
    """Push what the project's data and stages are made of, and the cache of runs; returns how many files went.

    Raises PushError with one line naming the remote.
    """
    from dvc.repo import Repo

    repo = Repo(str(root), _wait_for_lock=True)
    url = str(repo.config["remote"][remote].get("url"))
    _check_address(remote, url)
    try:
        with _failed_transfers() as causes:
            return repo.push(remote=remote, run_cache=True)
    except Exception as error:
        raise _push_error([*causes, *_causes(error)], remote, url) from error


def pull_runs(root: Path, remote: str) -> int:
    """Fetch what the cache of runs at `remote` knows: which inputs gave which outputs; returns how many runs.

    Raises PullError.
    """
    from dvc.repo import Repo

    repo = Repo(str(root), _wait_for_lock=True)
    try:
        return len(repo.stage_cache.pull(remote))
    except Exception as error:
        raise _pull_error(error, "the cache of runs", remote, str(repo.config["remote"][remote].get("url"))) from error


def local_folder(odb) -> Path:
    """The folder that a remote on this machine was given as its address."""
    return Path(odb.path.removesuffix("files/md5"))


def _default_remote(repo) -> tuple[str, str]:
    name = repo.config["core"].get("remote")
    if not name:
        raise PullError("no default DVC remote; set one with `dvc remote default NAME`", may_pass=False)
    url = repo.config["remote"].get(name, {}).get("url")
    if not url:
        raise PullError(f"the default DVC remote {name!r} has no address; add it with `dvc remote add`", may_pass=False)
    return name, str(local_folder(repo.cloud.get_remote_odb(name))) if "://" not in str(url) else str(url)


def _pull_error(error: Exception, names: str, remote: str, url: str) -> PullError:
    causes = _causes(error)
    is_local = "://" not in url
    if is_local and not Path(url).exists():
        text = f"the remote {remote!r} is not reachable: {url} does not exist (needed for {names})"
        return PullError(text, may_pass=False)
    network = any(_is_network(cause) for cause in causes)
    if network:
        text = f"the remote {remote!r} at {url} is not reachable ({in_one_line(error)}); needed for {names}"
        return PullError(text, may_pass=True)
    return PullError(f"cannot pull {names} from the remote {remote!r} at {url}: {in_one_line(error)}", may_pass=False)


def _push_error(causes: list[BaseException], remote: str, url: str) -> PushError:
    """The failure as one line; the first cause that says more than that something failed."""
    if _is_full_disk(causes):
        return PushError(f"no space left at the remote {remote!r} ({url}): free some, then run again")
    cause = next((cause for cause in causes if not type(cause).__name__.startswith("Upload")), causes[0])
    if any(_is_network(cause) for cause in causes):
        text = f"the remote {remote!r} at {url} is not reachable or busy ({in_one_line(cause)}); run again later"
        return PushError(text, may_pass=True)
    place = f"the remote {remote!r} at {url}"
    return PushError(f"cannot push to {place}: {in_one_line(cause)}; check address and credentials")


def _is_full_disk(causes: list[BaseException]) -> bool:
    return any(getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for cause in causes)


def _causes(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None and len(causes) < 10:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


@contextlib.contextmanager
def _failed_transfers() -> Iterator[list[BaseException]]:
    """The errors of single files: dvc only logs them, and then says how many there were."""
    causes: list[BaseException] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                causes.extend(_causes(record.exc_info[1]))

    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [logger.handlers for logger in loggers]
    for logger in loggers:
        # Not beside dvc's own handlers: what they print is in the error that follows.
        logger.handlers = [Keep(logging.WARNING)]
    try:
        yield causes
    finally:
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers = handlers


def _is_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) in NETWORK_ERRORS:
        return True
    name = type(error).__name__
    words = ("Connect", "Timeout", "EndpointConnection", "ClientOSError", "Throttl", "SlowDown")
    return any(word in name for word in words)
