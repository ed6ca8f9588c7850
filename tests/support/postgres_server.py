"""A real Postgres on loopback, from Debian's packages."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import needs
from tests.support.ports import free_port

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass(frozen=True)
class Postgres:
    """A server on 127.0.0.1 that asks for passwords; `password` is its superuser's."""

    port: int
    password: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What psql and pg_dump need to be the superuser."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PGPASSWORD": self.password}

    def ask(self, database: str, query: str) -> str:
        """What psql prints, without decoration."""
        return self._run("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", query, database)

    def dump(self, database: str) -> bytes:
        """All that a database holds, as SQL."""
        return self._run("pg_dump", "--inserts", database).encode()

    def restart(self) -> None:
        """As after a crash: at once, without a word to its clients."""
        _control(self.folder, "restart", "--mode", "immediate", *_options(self.folder, self.port))

    def _run(self, *command: str) -> str:
        answer = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()


@contextlib.contextmanager
def postgres(password: str) -> Iterator[Postgres]:
    """An empty server while inside."""
    if not FOLDERS:
        needs.absent("there is no Postgres in /usr/lib/postgresql", "apt-get install postgresql")
    # Not below pytest's folder, which the user that the server runs as may not enter.
    folder, port = Path(tempfile.mkdtemp(prefix="plumb-postgres-")), free_port()
    try:
        (folder / "password").write_text(password)
        for path in (folder, folder / "password"):
            shutil.chown(path, *([_user()] * 2 if os.getuid() == 0 else [os.getuid()]))
        _as_user(
            FOLDERS[-1] / "initdb", "--pgdata", folder / "data", "--username", "postgres", "--no-sync",
            "--auth-host", "scram-sha-256", "--auth-local", "scram-sha-256", "--pwfile", folder / "password",
        )  # fmt: skip
        _control(folder, "start", *_options(folder, port))
        try:
            yield Postgres(port, password, folder)
        finally:
            _control(folder, "stop", "--mode", "immediate")
    finally:
        shutil.rmtree(folder)


def _options(folder: Path, port: int) -> list[str]:
    return ["--options", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"]


def _control(folder: Path, *arguments: str) -> None:
    _as_user(FOLDERS[-1] / "pg_ctl", "--pgdata", folder / "data", "--log", folder / "log", "--wait", *arguments)


def _user() -> str:
    return pwd.getpwnam("postgres").pw_name


def _as_user(*command: object) -> None:
    """Postgres refuses to run as root."""
    who = {"user": _user(), "group": _user(), "extra_groups": []} if os.getuid() == 0 else {}
    answer = subprocess.run(
        [str(word) for word in command], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, **who,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout
