"""`plumb retrain` in a process that kills itself with SIGKILL at a boundary.

    python -m tests.support.retrain_worker BOUNDARY [KEY=VALUE ...]

It prints each boundary that it comes to: the end of a step of the flow, of a stage, of a step of the promotion.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys

from flows import environment
from tests.support.promotion_worker import same_logits


def reached(boundary: str) -> None:
    print(boundary, flush=True)
    if boundary == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)


def after(name, function):
    """The function, which comes to a boundary when it is done."""

    def wrapped(*arguments, **named):
        result = function(*arguments, **named)
        reached(name(*arguments) if callable(name) else name)
        return result

    return wrapped


def with_boundaries() -> None:
    """Put them into the flow's modules; also a comparison of logits that takes no seconds."""
    from flows import promote, retrain
    from flows.schedule import decisions, retraining

    def board_of(session, original=retrain.board_of):
        board = original(session)
        board.ends = after(lambda run: f"stage {run.stage}", board.ends)
        return board

    def place_of(root, rules, original=promote.place_of):
        return dataclasses.replace(original(root, rules), verify=same_logits)

    retrain.step = after(lambda name, settings, call: name, retrain.step)
    retrain.board_of, promote.place_of = board_of, place_of
    retraining.bring_up_to_date = after("aligned", retraining.bring_up_to_date)
    decisions.mark = after("marked", decisions.mark)
    promote.as_task = after(lambda name, step: f"promotion: {name}", promote.as_task)


def main() -> int:
    # One stage after the other, so that a boundary is the same moment each time.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    root = environment.project_root()
    environment.prepare(root)
    with_boundaries()
    from flows.command import console
    from flows.schedule import retrain_here
    from flows.storage.workspace import parse_settings

    wish = {"changes": parse_settings(sys.argv[2:]), "commit": None, "take_in": True, "anchors": False, "force": False}
    return retrain_here.retrain(root, console(), wish, None)


if __name__ == "__main__":
    sys.exit(main())
