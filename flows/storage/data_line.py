"""The branch `plumb/data`: a line of its own that holds the data's pointer and the ledger of intake, and no code.

Each intake adds one commit to it. A push says which commit it expects there, so of two intakes at once one wins, and
the other begins again on top of it. The code of a run comes from the commit at hand alone: a second commit, on a branch
of the run, puts the same pointer and ledger onto that. One push brings both or none: it makes new data count.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.git import GitError, answers, git
from flows.redact import without_login
from flows.storage.workspace import clone_shared, project_in, repository, share_dvc

BRANCH = "refs/heads/plumb/data"
HOME = "refs/plumb/intake"  # where the project keeps the commit of its last intake
IDENTITY = {"NAME": "Plumbline", "EMAIL": "plumbline@localhost"}  # where git knows none


@dataclass(frozen=True)
class Clone:
    """A clone at the commit `code`; `path` is the project in it. `url` is the repository with plumb/data, `tip` where
    that is by now (None: nowhere yet)."""

    path: Path
    code: str
    tip: str | None
    url: str

    @property
    def host(self) -> str:
        """The address for messages."""
        return without_login(self.url)


def open_clone(root: Path, path: Path, commit: str = "HEAD") -> Clone:
    """A fresh clone of the project's repository at `path`, at `commit`, with plumb/data fetched, and with the project's
    DVC cache and remotes.

    plumb/data is looked for where `origin` of the project is, or else in the project's own repository.
    Raises ValueError when `root` has no commit, or `origin` does not answer.
    """
    if not answers(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise ValueError(f"{root} has no git commit; intake commits on top of one: commit the project first")
    code, url = git(root, "rev-parse", f"{commit}^{{commit}}"), _origin(root)
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    clone_shared(root, path)
    git(path, "checkout", "--quiet", "--detach", code)
    share_dvc(root, project_in(root, path))
    tip = _tip(path, url)
    if tip is not None:
        git(path, "fetch", "--quiet", "--no-tags", url, f"+{BRANCH}:{BRANCH}")
        tip = git(path, "rev-parse", BRANCH)
    return Clone(project_in(root, path), code, tip, url)


def _origin(root: Path) -> str:
    """The address of `origin`; of the project's own repository where there is none."""
    top = repository(root)
    if not answers(root, "remote", "get-url", "origin"):
        return str(top)
    url = git(root, "remote", "get-url", "--push", "origin")
    is_path = "://" not in url and not re.match(r"[^/]+:", url)
    return str((top / url).resolve()) if is_path else url


def _tip(folder: Path, url: str) -> str | None:
    listed = git(folder, "ls-remote", url, BRANCH)
    return listed.split()[0] if listed else None


def text_of(clone: Clone, commit: str, name: str) -> str | None:
    """What the file `name` says in a commit; None where it is not there."""
    if not answers(clone.path, "cat-file", "-e", f"{commit}:./{name}"):
        return None
    return git(clone.path, "show", f"{commit}:./{name}")


def put(clone: Clone, commit: str, names: list[str]) -> None:
    """Make files and folders of the clone what they are in `commit`; those that are not there go."""
    for name in names:
        git(clone.path, "rm", "-r", "-q", "--force", "--ignore-unmatch", "--", name)
        if answers(clone.path, "cat-file", "-e", f"{commit}:./{name}"):
            git(clone.path, "checkout", "--quiet", commit, "--", name)


def commit(clone: Clone, names: list[str], message: str, parent: str | None, date: str | None = None) -> str:
    """A commit on top of `parent`, with the named files and folders as they are in the clone; returns its hash."""
    index = {"GIT_INDEX_FILE": str(repository(clone.path) / ".git" / "intake.index")}
    git(clone.path, "read-tree", parent or "--empty", **index)
    git(clone.path, "add", "--force", "--", *[name for name in names if (clone.path / name).exists()], **index)
    tree = git(clone.path, "write-tree", **index)
    who = {f"GIT_{role}_DATE": date for role in ("AUTHOR", "COMMITTER") if date}
    if not answers(clone.path, "var", "GIT_COMMITTER_IDENT"):
        who |= {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()}
    return git(clone.path, "commit-tree", tree, *(["-p", parent] if parent else []), "-m", message, **who)


def publish(clone: Clone, line: str, run: str, branch: str) -> bool:
    """Push both commits at once; False when plumb/data moved meanwhile, and nothing was pushed.

    Raises GitError when they cannot be pushed.
    """
    lease = f"--force-with-lease={BRANCH}:{clone.tip or ''}"
    refs = [f"{line}:{BRANCH}", f"{run}:refs/heads/{branch}"]
    try:
        git(clone.path, "push", "--quiet", "--atomic", lease, clone.url, *refs)
    except GitError as error:
        # The answer can get lost on the way back, so what counts is where the branch is now.
        now = _tip(clone.path, clone.url)
        if now == line:
            return True
        if now != clone.tip:
            return False
        raise GitError(f"cannot push to {clone.host}: {error.message}; nothing was taken in", error.may_pass) from error
    return True


def bring_home(root: Path, clone: Clone, line: str | None, run: str) -> None:
    """Make the commits known to the project's own repository, which keeps them when the clone goes."""
    git(clone.path, "update-ref", "refs/heads/run", run)
    refs = [f"+refs/heads/run:{HOME}"]
    if line is not None and clone.url != str(repository(root)):
        git(clone.path, "update-ref", BRANCH, line)
        refs.append(f"+{BRANCH}:refs/remotes/origin/plumb/data")
    git(root, "fetch", "--quiet", "--no-tags", str(repository(clone.path)), *refs)
