"""Ask the process that has torch whether two model directories give the same logits."""

import json
import subprocess
import sys
from pathlib import Path

from flows.graph.running import end_session, supervised_command

VERIFY_SECONDS = 3600.0
LINES_SHOWN = 3


def logit_difference(package: Path, registered: Path) -> float:
    """The largest difference between two logits of the packaged and the registered model.

    Raises ValueError with what the process said last when it cannot tell.
    """
    command = [sys.executable, "-m", "flows.serving.verify_model", str(package), str(registered)]
    process = subprocess.Popen(
        supervised_command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=VERIFY_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"comparing the logits took over {VERIFY_SECONDS:.0f} s; is the machine too small?") from None
    finally:
        end_session(process.pid)
        process.wait()
    if process.returncode != 0:
        reason = " ".join(" ".join(errors.splitlines()[-LINES_SHOWN:]).split()) or f"exit code {process.returncode}"
        raise ValueError(f"the logits of package and registry could not be compared: {reason}")
    return float(json.loads(output.splitlines()[-1])["difference"])
