"""`plumb align` in the project at hand: checks, a private Prefect server where none runs, the flow, the result."""

import contextlib
import os
import signal
from pathlib import Path

from flows import environment
from flows.alignment.session import Session
from flows.costs.budget import finish_run, paid_in_words
from flows.documents import read_json
from flows.graph.inputs import check_inputs
from flows.graph.stages import Graph
from flows.history import experiments, looks
from flows.history.left_open import is_alive
from flows.hosting import login, tracking_server
from flows.settings import read_settings
from flows.storage import gc_lock
from tasks.common import file_lock


class Prefect:
    """The Prefect API of one `plumb` command: a server that runs already, else a private one, started at first use."""

    def __init__(self, root: Path):
        self._root = root
        self._server = None
        self.somebodys = bool(os.environ.get("PREFECT_API_URL"))
        self._begun = False

    def __enter__(self) -> "Prefect":
        return self

    def __exit__(self, *error) -> None:
        if self._server:
            from prefect.logging.handlers import APILogWorker

            # What is still in the queue would be lost with the server, and say so on the console.
            APILogWorker.drain_all(timeout=5)
            self._server.stop()

    def start(self) -> None:
        """Begin to start it; PREFECT_API_URL is set when this returns, so that Prefect can be imported."""
        from flows.hosting.servers import answers, private_prefect, running_prefect

        if self._begun:
            return
        self._begun = True
        login.as_client()
        url = running_prefect(self._root)
        if url is None:
            self._server, url = private_prefect(self._root)
        elif not answers(f"{url}/health", seconds=5.0):
            raise ValueError(f"no Prefect server answers at PREFECT_API_URL={url}; start it, or unset PREFECT_API_URL")
        else:
            login.check_prefect(url)
        os.environ["PREFECT_API_URL"] = url

    def wait(self) -> None:
        """Until it answers."""
        if self._server:
            self._server.wait()


def align(root: Path, console, prefect: Prefect, cores: int | None = None, anchors: bool = False) -> int:
    """Bring the project at `root` up to date and print what came out; returns the exit code.

    anchors: ask the judges their anchors first, and run nothing if one drifted. Raises ValueError with one line for
    what the user can put right.
    """
    settings = read_settings(root)
    cores = cores or environment.usable_cores()
    tracking_server.check(settings.tracking.experiment)  # before hours of work that nobody would find there
    with gc_lock.run_under_way(environment.state_dir(root)), only_one(root):
        heal(root)
        moved = experiments.follow(settings.tracking.experiment)
        if moved:
            console.print(moved, style="yellow", soft_wrap=True)
        graph = Graph(root)
        check_inputs(root, graph)
        if not anchors and _nothing_to_do(root, graph, prefect):
            finish_run(root)
            console.print(f"Nothing to do: all {len(graph.stages)} stages are current and logged.")
        elif not _run(root, graph, settings, cores, console, prefect, anchors):
            return 1
    from flows.alignment import results

    results.show(root, console)
    return 0


def _nothing_to_do(root: Path, graph: Graph, prefect: Prefect) -> bool:
    """Whether a flow run would change nothing. A server that somebody runs is told of the pass in any case."""
    from flows.alignment.logged import all_logged
    from flows.storage import data

    if prefect.somebodys or data.missing(root):
        return False
    if not all(status.current for status in graph.plan().values()):
        return False
    return all_logged(graph)


def _run(root: Path, graph: Graph, settings, cores: int, console, prefect: Prefect, anchors: bool) -> bool:
    from flows.alignment.progress import board_of
    from flows.alignment.tracking import Tracker

    prefect.start()
    session = Session(root, environment.state_dir(root), graph, settings, cores, [], anchors)
    tracker = Tracker(session)
    try:
        from flows.align import align as flow

        prefect.wait()
        board = board_of(session, console)
        state, finished = run_flow(flow, session, tracker, board)
        _print_errors(session, state, tracker, console)
        spent = looks.objection_of_project(root, settings.promote.model_name) if tracker.parent else None
        if spent:
            console.print(f"Not a clean gate: {spent}", style="yellow", soft_wrap=True)
        return finished
    finally:
        session.processes.stop()


def run_flow(flow, session: Session, tracker, board):
    """The state in which the flow of flows/align.py ended, and whether all went well; MLflow has it all by then."""
    session.listeners += [board, tracker]
    with stopping_cleanly(session), tracker.killed_with_it(), board:
        state = flow(session.id, return_state=True)
    finished = state.is_completed() and not session.lasting_errors
    tracker.close(finished)
    return state, finished


def _print_errors(session: Session, state, tracker, console) -> None:
    if paid := paid_in_words(session.ledger.of_run(session.run.id)):
        console.print(paid, soft_wrap=True)
    for error in session.lasting_errors:
        console.print(f"{error.stage}: {error.message}", style="red", soft_wrap=True)
        console.print(f"  log: {error.log}", soft_wrap=True)
    if not session.lasting_errors and not state.is_completed():
        error = state.message if state.is_cancelled() else state.result(raise_on_failure=False)
        message = getattr(error, "message", None) or f"the flow ended as {state.name}: {error}"
        console.print(message, style="red", soft_wrap=True)
    for problem in tracker.problems:
        console.print(f"MLflow: {problem}; the next plumb align logs it", style="yellow", soft_wrap=True)


@contextlib.contextmanager
def stopping_cleanly(session: Session):
    """While inside, SIGTERM and SIGINT end the stages at once; the flow then ends by itself."""

    def stop(signum, frame):
        session.processes.stop()
        raise KeyboardInterrupt

    previous = {signum: signal.signal(signum, stop) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def only_one(root: Path, wait: bool = False):
    """Hold the project: two flows in one workspace would remove each other's outputs.

    Raises ValueError naming the process that holds it, unless it is to wait for that. A dead process holds nothing.
    """

    def busy(file) -> None:
        if not wait:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ValueError(
                f"another plumb align (process {holder}) works in {root}; wait for it, or use a second clone"
            )

    with file_lock.held(root / ".dvc" / "tmp" / "plumb.lock", busy=busy) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def open_graph(root: Path, console) -> Graph:
    """The graph, for commands that only look; a dvc.lock that is torn is cleared first, as `align` does.

    Raises ValueError with one line where it cannot be read for another reason, or while an align is at work.
    """
    try:
        return Graph(root)
    except ValueError:
        lock = root / "dvc.lock"
        if not lock.exists() or _is_whole_lock(lock):
            raise
    with only_one(root):
        for line in heal(root):
            console.print(f"Cleared: {line}")
    return Graph(root)


def heal(root: Path) -> list[str]:
    """Clear what a `kill -9` of dvc at the wrong moment leaves behind; returns what was cleared.

    DVC writes dvc.lock and its reader-writer lock in place: killed meanwhile, both can be torn, and it refuses to go
    on. Its check for dead holders is fooled by zombies and reused ids. Nothing is lost with either file: finished
    stages come back from the run-cache.
    """
    cleared = []
    lock = root / "dvc.lock"
    if lock.exists() and not _is_whole_lock(lock):
        lock.unlink()
        cleared.append("dvc.lock was torn; finished stages come back from the cache")
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    if rwlock.exists() and _holders_are_dead(rwlock):
        rwlock.unlink()
        cleared.append("the lock of a dead dvc")
    return cleared


def _is_whole_lock(path: Path) -> bool:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and isinstance(content.get("stages"), dict)


def _holders_are_dead(path: Path) -> bool:
    locks, written = read_json(path), path.stat().st_mtime
    if locks is None:
        return True
    holders = [*locks.get("write", {}).values(), *(h for held in locks.get("read", {}).values() for h in held)]
    return not any(is_alive(holder["pid"], written) for holder in holders)
