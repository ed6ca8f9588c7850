"""Run one command so that nothing of it outlives whoever asked for it.

    python -S supervise.py PARENT_PID COMMAND [ARGUMENT ...]

Started in a session of its own. `kill -9` of dvc leaves the stage that dvc started running, and `kill -9` of the
flow leaves dvc, so somebody has to watch both. This process does: it is told by the kernel when the flow dies, it
waits for the command, and in either case it ends every process of its session. If it is killed itself, the kernel
kills the command, and the flow ends the rest of the session.

Run by path and without `site`, so that it is there in about 20 ms; it must import nothing but the standard library.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1


def session_members(session: int) -> list[int]:
    """The ids of the living processes of a session, and of what they started in sessions of its own, as Prefect's
    workers do (zombies left out); empty where there is no /proc.
    """
    children, members = {}, []
    try:
        entries = os.listdir("/proc")
    except OSError:
        return members
    for entry in entries:
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                # The name in parentheses may hold spaces; the fields are counted after it.
                state, parent, _, its_session, *_ = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if state in "ZX":
            continue
        children.setdefault(int(parent), []).append(int(entry))
        if int(its_session) == session:
            members.append(int(entry))
    for member in members:  # it grows meanwhile
        members += [child for child in children.get(member, ()) if child not in members]
    return members


def end_session(session: int, patience: float = 10.0) -> bool:
    """Kill every process of `session`, with what they started, but this one.

    True when none is left within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        others = [pid for pid in session_members(session) if pid != os.getpid()]
        if not others:
            return True
        if time.monotonic() > deadline:
            return False
        for pid in others:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def die_with_parent(signum: int, parent: int) -> None:
    """Ask the kernel for `signum` when the parent dies; exit now if it died before the question."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signum)


def main(parent: int, command: list[str]) -> int:
    """Run `command`; returns its exit code, 128 + n after death by signal n."""
    session = os.getsid(0)

    def stop(signum, frame):
        end_session(session)
        os._exit(128 + signum)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, stop)
    die_with_parent(signal.SIGTERM, parent)
    me = os.getpid()
    child = os.fork()
    if child == 0:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        die_with_parent(signal.SIGKILL, me)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end_session(session)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
