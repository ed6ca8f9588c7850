"""Both sides of the race, each asking its questions in a process of its own (`benchmarks/child.py`).

The clock runs from the first question to the last verdict: connections and the store are inside, imports are not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.judging.questions import WEIGHTS, ordered_pairs
from benchmarks.measure import timed

MODEL = "judge"


def _timed(work: Callable[[], list[Any]]) -> dict[str, Any]:
    """What `work` returned, and its seconds by the clock and of this process."""
    verdicts: list[Any] = []
    cost = timed(lambda: verdicts.extend(work()))
    return {"seconds": cost.wall, "cpu_seconds": cost.cpu, "verdicts": verdicts}


def ours(questions: int, asking: dict[str, Any], store: str) -> dict[str, Any]:
    """`verdicts`: the preference for the answer shown first; null for an invalid one."""
    from models.judges.asking import Asker, AskingSettings
    from models.judges.base import Question
    from models.judges.openai import OpenAIJudge
    from models.judges.store import Store

    # At temperature 0 a reply that cannot be read is not asked for again: the server's come at random.
    judge = OpenAIJudge("bench", MODEL, WEIGHTS, temperature=1.0)
    items = [
        (judge, Question({"id": str(pair.number), "prompt": [{"role": "user", "content": pair.prompt}]},
                         pair.first, pair.second))
        for pair in ordered_pairs(questions)
    ]  # fmt: skip
    with Store(Path(store)) as answers:
        asker = Asker(answers, settings=AskingSettings(**asking))
        return _timed(lambda: [a.p_first if a.valid else None for a in asker.ask(items)])


def theirs(questions: int, **_: Any) -> dict[str, Any]:
    """From TRL's ranks, 0 for the answer shown first; null where it has none (-1). Order is not shuffled: ours is not.

    Where the judge gives up, with all that it had: {"failure": why}.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from openai import OpenAIError
    from trl.experimental.judges import OpenAIPairwiseJudge

    judge = OpenAIPairwiseJudge(MODEL, max_requests=None)
    pairs = ordered_pairs(questions)
    prompts, completions = [pair.prompt for pair in pairs], [[pair.first, pair.second] for pair in pairs]

    def ask() -> list[Any]:
        ranks = judge.judge(prompts, completions, shuffle_order=False)
        return [None if rank == -1 else 1 - rank for rank in ranks]

    try:
        return _timed(ask)
    except OpenAIError as error:
        return {"failure": f"{type(error).__name__} {error}"}
