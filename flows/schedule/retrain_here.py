"""`plumb retrain`: the flow in this process, on the Prefect server that runs, else on a private one."""

from pathlib import Path
from typing import Any

from flows.alignment import local
from flows.hosting import tracking_server
from flows.serving.promoting import own_approval
from flows.settings import read_settings


def retrain(root: Path, console, wish: dict[str, Any], comment: str | None) -> int:
    """Run it and print what it came to; exit code 0 when there is a decision.

    wish: the flow's parameters. comment: an approval given beforehand, by whoever runs this.
    Raises ValueError with one line when a step failed.
    """
    if moved := tracking_server.make_ready(read_settings(root).tracking.experiment):
        console.print(moved, style="yellow", soft_wrap=True)
    with local.Prefect(root) as prefect:
        prefect.start()
        from flows.retrain import retrain as flow

        prefect.wait()
        state = flow(**wish, approval=own_approval(comment) if comment is not None else None, return_state=True)
    if state.is_cancelled():
        raise ValueError(f"the retraining was {state.message}; run it again: it goes on from there")
    if not state.is_completed():
        raise ValueError(str(state.result(raise_on_failure=False)))
    console.print(f"{state.name}: {state.message}", soft_wrap=True)
    console.print(state.result(), soft_wrap=True)
    return 0
