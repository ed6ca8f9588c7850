"""`python -m benchmarks.judging.child ours|theirs OUT SETTINGS`: one side asks its questions, in a process of its own.

The clock runs from the first question to the last verdict: connections and the store are inside, imports are not.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.judging.questions import WEIGHTS, ordered_pairs


def _timed(work: Callable[[], list[Any]]) -> dict[str, Any]:
    """What `work` returned, and its seconds by the clock and of this process."""
    before, began = time.process_time(), time.perf_counter()
    verdicts = work()
    wall = time.perf_counter() - began
    return {"seconds": wall, "cpu_seconds": time.process_time() - before, "verdicts": verdicts}


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """`verdicts`: the preference for the answer shown first; null for an invalid one."""
    from models.judges.asking import Asker, AskingSettings
    from models.judges.base import Question
    from models.judges.openai import OpenAIJudge
    from models.judges.store import Store

    # At temperature 0 a reply that cannot be read is not asked for again: the server's come at random.
    judge = OpenAIJudge("bench", settings["model"], WEIGHTS, temperature=1.0)
    items = [
        (judge, Question({"id": str(pair.number), "prompt": [{"role": "user", "content": pair.prompt}]},
                         pair.first, pair.second))
        for pair in ordered_pairs(settings["questions"])
    ]  # fmt: skip
    with Store(Path(settings["store"])) as store:
        asker = Asker(store, settings=AskingSettings(**settings["asking"]))
        return _timed(lambda: [a.p_first if a.valid else None for a in asker.ask(items)])


def theirs(settings: dict[str, Any]) -> dict[str, Any]:
    """From TRL's ranks, 0 for the answer shown first; null where it has none (-1). Order is not shuffled: ours is not.

    Where the judge gives up, with all that it had: {"failure": what it said}.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from openai import OpenAIError
    from trl.experimental.judges import OpenAIPairwiseJudge

    judge = OpenAIPairwiseJudge(settings["model"], max_requests=None)
    pairs = ordered_pairs(settings["questions"])
    prompts, completions = [pair.prompt for pair in pairs], [[pair.first, pair.second] for pair in pairs]

    def ask() -> list[Any]:
        ranks = judge.judge(prompts, completions, shuffle_order=False)
        return [None if rank == -1 else 1 - rank for rank in ranks]

    try:
        return _timed(ask)
    except OpenAIError as error:
        return {"failure": f"{type(error).__name__} {error}"}


def main() -> None:
    side, out, settings = sys.argv[1:]
    found = {"ours": ours, "theirs": theirs}[side](json.loads(settings))
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
