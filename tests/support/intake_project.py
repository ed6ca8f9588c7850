"""A project with a few rows, an origin, a DVC remote and an S3 inbox, for tests of intake on real servers."""

import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from tasks.common.rows import write_jsonl
from tests.support import toy
from tests.support.intake_rows import lines
from tests.support.s3_servers import Server

DRIVER = """
import os, signal, sys
from pathlib import Path
from flows import environment
from flows.incoming.intake import take_in

def step(name):
    print(name, flush=True)
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

root = Path.cwd()
environment.prepare(root)
take_in(root, step=step)
"""


def demonstration(number: int) -> dict:
    return {"prompt": f"Please describe item number {number}", "completion": f"Item {number} is blue."}


def preference(number: int) -> dict:
    return {"prompt": f"Which of the items is number {number}?", "chosen": "This one.", "rejected": "None."}


GATE = {"id": "gate-0", "split": "gate", "prompt": "Which day of the week comes right after Monday, please?"}
PROMPTS = [
    {"id": "p-compare", "split": "compare", "prompt": "Why do cats purr?"},
    {"id": "p-rl", "split": "rl", "prompt": "How is bread made?"},
    {"id": "p-select", "split": "select", "prompt": "What is the name of the longest river?"},
    GATE,
]
INBOX = {
    "in/demonstrations/a.jsonl": lines(demonstration(1), demonstration(2), {"prompt": "x"}) + b"{broken\n\xff\n",
    "in/demonstrations/b.jsonl": lines(demonstration(2), demonstration(3), {**demonstration(4), "id": "../../etc"}),
    "in/preferences/p.jsonl": lines(preference(1), {**preference(2), "prompt": GATE["prompt"]}),
    "in/verdicts/v.csv": b"prompt_id,first,second,policy,annotator,verdict\n"
    b"p-compare,p-compare#0,p-compare#1,0123456789abcdef,ann,first\nno,a,b,0123456789abcdef,ann,tie\n",
    "in/readme.txt": b"hello",
}
# rows that are good: 1, 2, 3 of the demonstrations, one preference, one verdict
GOOD = {"demonstrations.jsonl": 3, "preferences.jsonl": 1, "verdicts.jsonl": 1}


@dataclass
class Project:
    """A clone of `origin` whose inbox and DVC remote are at `server`."""

    folder: Path
    origin: Path
    server: Server
    inbox: str = ""

    def environment(self, **more: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return own | toy.toy_environment(self.folder) | self.server.environment() | GIT | more

    def intake(self, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        """`plumb intake`, waited for."""
        return self.run([sys.executable, "-m", "flows.cli", "intake", *arguments], **more)

    def killed_at(self, step: str, **more: str) -> list[str]:
        """Run intake until it has finished `step`, then SIGKILL; returns the steps it came to."""
        answer = self.run([sys.executable, "-c", DRIVER, step], **more)
        assert answer.returncode in (0, -signal.SIGKILL), answer.stderr
        return answer.stdout.splitlines()

    def do(self, program: str, *arguments: str) -> str:
        """git or dvc in the project, which must succeed."""
        command = [program] if program == "git" else [sys.executable, "-m", program]
        answer = self.run([*command, *arguments])
        assert answer.returncode == 0, f"{program} {arguments}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def set_up(self, *tracked: str) -> None:
        """Make it a git and DVC project with an origin and two remotes; `tracked` is kept by DVC."""
        for command in (
            "git init -q -b main", "dvc init -q", "dvc config core.analytics false",
            "dvc remote add -q -d first ../first", "dvc remote add -q store ../store",
            f"dvc add -q {' '.join(tracked)}", "dvc push -q", "git add -A", "git commit -qm start",
            "git clone -q --bare . ../origin.git", "git remote add origin ../origin.git", "git fetch -q",
        ):  # fmt: skip
            self.do(*command.split())

    def run(self, command: list[str], **more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(**more), capture_output=True, text=True, timeout=300
        )

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        command = ["git", *arguments]
        answer = subprocess.run(
            command, cwd=folder or self.origin, env=self.environment(), capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def line(self) -> list[str]:
        """The commits of plumb/data, newest first."""
        listed = self.git("for-each-ref", "--format=%(refname)", "refs/heads/plumb/data")
        return self.git("rev-list", "plumb/data").split() if listed else []

    def runs(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/run/").split()

    def files(self, commit: str = "plumb/data") -> dict[str, str]:
        """Pointer and ledger as they are in a commit of origin."""
        names = self.git("ls-tree", "-r", "--name-only", commit, "--", "data").split()
        return {name: self.git("show", f"{commit}:{name}") for name in names if name != "data/.gitignore"}

    def pulled(self, commit: str = "plumb/data") -> dict[str, bytes]:
        """The data of a commit of origin, as a second clone with an empty cache gets it."""
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as folder:
            place = Path(folder)
            clone = Project(place, self.origin, self.server)
            clone.do("git", "clone", "-q", str(self.origin), str(place))
            for name, text in self.files(commit).items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_text(text)
            clone.do("dvc", "pull", "-q", "data/items.dvc")
            return {path.name: path.read_bytes() for path in sorted((place / "data" / "items").iterdir())}


NOBODY = Server("http://127.0.0.1:9", "none", "none")
GIT = {
    f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "t"), ("EMAIL", "t@t"))
}


def make_project(place: Path, server: Server, inbox: str, remote: str = "", **intake) -> Project:
    """A committed project in a folder of its own below `place`.

    remote: where DVC keeps new data, s3://…; the rows that are there from the start lie in a folder beside it.
    """
    shutil.copytree(_template(), place, dirs_exist_ok=True)
    project = Project(place / "project", place / "origin.git", server, inbox)
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    params["intake"] |= {"inbox": inbox, "attempts": 3, **intake}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    if remote:
        project.do("dvc", "remote", "add", "-q", "-f", "store", remote)
    project.do("git", "commit", "-qam", "intake")
    project.do("git", "push", "-q", "origin", "main")
    return project


@functools.cache
def _template() -> Path:
    """Made once: git and dvc take seconds to set up. All addresses are relative."""
    holder = tempfile.TemporaryDirectory()
    atexit.register(holder.cleanup)
    project = Project(Path(holder.name) / "project", Path(holder.name) / "origin.git", NOBODY)
    project.folder.mkdir()
    params = yaml.safe_load((toy.ROOT / "params.yaml").read_text())
    params["data"] |= {"path": "data/items", "preferences": "preferences.jsonl"}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (project.folder / "dvc.yaml").write_text("stages: {}\n")
    (project.folder / ".gitignore").write_text("__pycache__/\n")
    data = project.folder / "data" / "items"
    write_jsonl(data / "demonstrations.jsonl", [{"id": "d-0", **demonstration(0)}])
    write_jsonl(data / "prompts.jsonl", PROMPTS)
    write_jsonl(data / "preferences.jsonl", [{"id": "f-0", **preference(0)}])
    project.set_up("data/items")
    return Path(holder.name)
