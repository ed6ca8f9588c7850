"""What a stage's calls across a network took, as the stage left it in its folder: totals for the ledger, and traces."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import command
from tasks.common.rows import read_jsonl

FILES = ("calls.json", "calls.jsonl")
KEY_TAG = "plumb.call"
TRACES_READ = 1000


@dataclass(frozen=True)
class Calls:
    """`totals` of one process of a stage (answers, stored, calls, tokens, cost, latencies in seconds), and a sample."""

    totals: dict[str, float] = field(default_factory=dict)
    sample: list[dict[str, Any]] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, float]:
        """By name, for MLflow."""
        return {f"judge_calls/{name}": float(value) for name, value in self.totals.items()}

    def as_markdown(self) -> str:
        """A table for the Prefect page; empty where nobody across a network was asked."""
        if not self.totals:
            return ""
        rows = [(name.replace("_", " "), f"{value:,.6g}") for name, value in sorted(self.totals.items())]
        table = command.markdown_table(("measure", "value"), rows)
        return "\n".join(["### Calls (latencies in seconds)", "", *table]) + "\n"


def read_calls(place: Path) -> Calls:
    """What lies in a stage's folder; nothing where nobody was asked. Torn files say nothing."""
    totals, sample = (place / name for name in FILES)
    try:
        return Calls(json.loads(totals.read_text(encoding="utf-8")), read_jsonl(sample))
    except (FileNotFoundError, ValueError):
        return Calls()


def forget_calls(place: Path) -> None:
    """Take away what an earlier attempt left."""
    for name in FILES:
        (place / name).unlink(missing_ok=True)


def write_traces(client, experiment: str, run_id: str, sample: list[dict[str, Any]]) -> None:
    """Log each call of the sample as an MLflow trace that belongs to the run; those that are there already stay."""
    if not sample:
        return
    import mlflow

    known = client.search_traces(locations=[experiment], run_id=run_id, max_results=TRACES_READ, include_spans=False)
    there = {trace.info.tags.get(KEY_TAG) for trace in known}
    new = [_trace(experiment, call) for call in sample if call["key"] not in there]
    if new:
        mlflow.flush_trace_async_logging()
        client.link_traces_to_run(new, run_id)


def _trace(experiment: str, call: dict[str, Any]) -> str:
    """The id of the trace of one call."""
    import mlflow
    from mlflow.tracing.constant import SpanAttributeKey

    ended = int(call["time"] * 1e9)
    attributes = {name: call[name] for name in ("kind", "prompt_id", "valid", "calls", "cost")}
    span = mlflow.start_span_no_context(
        f"judge {call['judge']}",
        span_type="CHAT_MODEL",
        inputs={"messages": call["messages"]},
        attributes=attributes,
        tags={KEY_TAG: call["key"]},
        experiment_id=experiment,
        start_time_ns=ended - int(call["latency_seconds"] * 1e9),
    )
    tokens = {name: call[name] for name in ("input_tokens", "output_tokens")}
    span.set_attribute(SpanAttributeKey.CHAT_USAGE, {**tokens, "total_tokens": sum(tokens.values())})
    span.end(outputs={"raw": call["raw"], "answer": call["answer"]}, end_time_ns=ended)
    return span.trace_id
