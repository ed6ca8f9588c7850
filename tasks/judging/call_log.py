"""What asking judges across a network took in this very process, for the ledger and MLflow.

Times, and what was paid today, are no function of a stage's inputs, so none of it may stand in `metrics/`. The folder
in PLUMB_LIVE takes it: totals in one file, and a sample of the calls in another. A key never comes near either.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

from models.endpoints.failures import print_failures
from models.judges.asking import Asker
from models.judges.base import Question
from models.judges.remote import RemoteJudge
from models.judges.store import Record
from models.judges.tally import PAID, Tally
from models.judges.templates import messages
from tasks.common.progress import live_folder
from tasks.common.rows import Row, write_jsonl

TOTALS_FILE, SAMPLE_FILE = "calls.json", "calls.jsonl"
SAMPLED = 20  # calls kept whole
QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_max": 1.0}


class CallLog:
    """Listens to an `Asker`; `write` leaves what it heard where the flow looks."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._sample: dict[str, Row] = {}

    def heard(self, judge: RemoteJudge, question: Question, record: Record) -> None:
        """One question was answered. A key is a hash, so that those with the lowest keys are a random sample."""
        self._tally.add(record, stored=False)
        if len(self._sample) < SAMPLED or record.key < max(self._sample):
            self._sample[record.key] = _call(judge, question, record)
            if len(self._sample) > SAMPLED:
                del self._sample[max(self._sample)]

    def totals(self, whole: Tally, judges: Sequence[Any] = ()) -> dict[str, float]:
        """What was paid now, and how long the answers took (seconds, the last attempt of each); `used_…`: what all
        answers cost when they were paid, stored ones included.

        `asked` is that whole tally: what questions without an answer cost stands only there.
        For each of `judges` whose server refused some, how many ways of forcing an answer's form, and how many fields.
        """
        latencies = sorted(self._tally.latencies)
        dropped = {judge.name: getattr(judge, "fields_refused", {}) for judge in judges}
        refused = {judge.name: getattr(judge, "formats_refused", 0) for judge in judges}
        return {
            **{f"{name}_formats_refused": count for name, count in refused.items() if count},
            **{f"{name}_fields_refused": len(fields) for name, fields in dropped.items() if fields},
            "answers": len(latencies),
            "stored": whole.stored,
            **{name: getattr(self._tally, name) + getattr(whole, f"lost_{name}") for name in PAID},
            **{f"used_{name}": getattr(whole, name) for name in PAID},
            **{name: quantile(latencies, share) for name, share in QUANTILES.items() if latencies},
        }

    def write(self, asker: Asker, judges: Sequence[Any] = ()) -> None:
        """Say in the log what servers refused and failed to answer, and leave the files where somebody across a network
        was asked."""
        for judge in judges:
            if count := getattr(judge, "formats_refused", 0):
                print(f"judge {judge.name!r}: its server refused {count} of 2 ways of forcing an answer into a form; "
                      "what it says is read as well as it can be")
            print_failures(f"judge {judge.name!r}", getattr(judge, "fields_refused", {}), ())
        print_failures("", {}, asker.failures)
        folder, tally = live_folder(), asker.tally
        if folder is None or not (self._tally.latencies or tally.stored or tally.lost_calls):
            return
        totals = self.totals(tally, judges)
        (folder / TOTALS_FILE).write_text(json.dumps(totals, sort_keys=True) + "\n", encoding="utf-8")
        write_jsonl(folder / SAMPLE_FILE, [self._sample[key] for key in sorted(self._sample)])


def _call(judge: RemoteJudge, question: Question, record: Record) -> dict[str, Any]:
    template = getattr(judge, "template", None)
    sent = messages(question, list(judge.weights), template) if template else []
    return {**vars(record), "messages": sent, "answer": json.loads(record.answer), "time": time.time()}


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the `ordered` values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
