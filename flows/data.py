"""`pull`: the data and the base model that the clone does not have yet, from the default remote."""

import errno
from pathlib import Path

NETWORK_ERRORS = {errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}


class PullError(ValueError):
    """The data could not be fetched. `may_pass` when it failed on the way to a remote that could come back."""

    def __init__(self, message: str, may_pass: bool):
        super().__init__(message)
        self.message, self.may_pass = message, may_pass


def pointers(root: Path) -> list[Path]:
    """The *.dvc files of the project's data folder: what is pulled, by name."""
    return sorted((root / "data").rglob("*.dvc"))


def missing(root: Path) -> list[Path]:
    """The pointers whose data is not in the workspace, or is other data."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    found = pointers(root)
    if not found:
        return []
    repo = Repo(str(root))
    wanted = []
    for pointer in found:
        try:
            (stage,) = repo.stage.load_all(str(pointer))
        except DvcException as error:
            raise PullError(f"{pointer}: {' '.join(str(error).split())}", may_pass=False) from error
        if any(out.changed_checksum() if out.exists else True for out in stage.outs):
            wanted.append(pointer)
    return wanted


def pull(root: Path) -> list[Path]:
    """Fetch what is missing; returns the pointers that were fetched.

    Raises PullError with one line naming the remote.
    """
    wanted = missing(root)
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
    causes, cause = [], error
    while cause is not None and len(causes) < 10:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    is_local = "://" not in url
    if is_local and not Path(url).exists():
        return PullError(f"the remote {remote!r} is not reachable: {url} does not exist (needed for {names})", may_pass=False)
    network = any(_is_network(cause) for cause in causes)
    if network:
        return PullError(f"the remote {remote!r} at {url} is not reachable ({_line(error)}); needed for {names}", may_pass=True)
    return PullError(f"cannot pull {names} from the remote {remote!r} at {url}: {_line(error)}", may_pass=False)


def _is_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) in NETWORK_ERRORS:
        return True
    name = type(error).__name__
    return any(word in name for word in ("Connect", "Timeout", "EndpointConnection", "ClientOSError", "Throttl", "SlowDown"))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
