"""What came out of a run, from metrics/evaluate.json and metrics/gate.json: the table, the answers, the verdict."""

from pathlib import Path
from typing import Any

from flows import command
from flows.costs.calls import Calls
from flows.documents import read_json
from flows.graph.stages import Stage, flatten
from tasks.artifacts import contracts
from tasks.reporting import judge_card, shown
from tasks.runner.params import read_params, stage_config

AXES = ("helpfulness", "harmlessness", "honesty", "friendliness", "conciseness")
ABSENT = "–"
PARAMS_FILE = "params.yaml"
EXAMPLES_SHOWN = 4


def stage_metrics(root: Path, stage: Stage) -> dict[str, float]:
    """What the stage's metrics files hold that is a number, by dotted names."""
    metrics: dict[str, float] = {}
    for out in stage.outs:
        if out.kind == "metric":
            flat = flatten(read_json(root / out.path) or {})
            metrics |= {name: float(value) for name, value in flat.items() if isinstance(value, int | float)}
    return metrics


def columns(root: Path) -> tuple[str, ...]:
    """The heads of the score table; the interval's is `evaluate.confidence`."""
    confidence = (read_json(root / "metrics" / "evaluate.json") or {}).get("confidence", 0.95)
    return ("model", f"gold [{100 * confidence:.4g}% CI]", *AXES, "KL to SFT (nats)", "mean length", "distinct-2")


def score_rows(root: Path) -> list[tuple[str, ...]]:
    """One row of text per model, in the order of `columns`; empty before the first evaluation."""
    return [_score_row(name, scores) for name, scores in _evaluation(root)["models"].items()]


def _evaluation(root: Path) -> dict[str, Any]:
    """evaluate.json as a reader sees it, with the candidate once there is a gate.json."""
    evaluation, gate = (read_json(root / "metrics" / f"{name}.json") or {} for name in ("evaluate", "gate"))
    return shown.of_verdict({"models": {}} | evaluation, gate.get("candidate"))


def _score_row(name: str, scores: dict[str, Any]) -> tuple[str, ...]:
    gold = scores.get("gold") or {}
    interval = ABSENT
    if gold.get("mean") is not None:
        interval = f"{gold['mean']:.3f} [{_number(gold.get('ci_low'), 3)}, {_number(gold.get('ci_high'), 3)}]"
    axes = [_number(scores.get(axis), 2) for axis in AXES]
    rest = [_kl(scores), _number(scores.get("length"), 1), _number(scores.get("distinct_2"), 2)]
    return (name, interval, *axes, *rest)


def _kl(scores: dict[str, Any]) -> str:
    """Measured where a policy was sampled; for best-of-n the upper bound log n - (n-1)/n."""
    if scores.get("kl") is None and scores.get("kl_upper_bound") is not None:
        return f"≤ {_number(scores['kl_upper_bound'], 2)}"
    return _number(scores.get("kl"), 2)


def _number(value: float | None, digits: int) -> str:
    """Rounded; a zero has no sign."""
    return ABSENT if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def examples(root: Path) -> list[tuple[str, dict[str, str]]]:
    """(prompt, {model: answer}) of the prompts that are always shown."""
    return [(row["prompt"], row["answers"]) for row in _evaluation(root)["examples"][:EXAMPLES_SHOWN]]


def verdict(root: Path) -> tuple[str, list[str]] | None:
    """The gate's word and its reasons; None before the first gate."""
    gate = read_json(root / "metrics" / "gate.json")
    if not gate or "verdict" not in gate:
        return None
    return gate["verdict"], [str(reason) for reason in gate.get("reasons", [])]


def contracts_line(root: Path) -> str | None:
    """Whether each stage kept what it owes the next, else the likely cause; None before there is anything to tell."""
    documents = {name: read_json(root / "metrics" / f"{name}.json") for name in contracts.DOCUMENTS}
    known = {name: document for name, document in documents.items() if document}
    if not known or not (root / "tasks").is_dir():  # a graph of one's own has contracts of its own
        return None
    cfg = stage_config(read_params(root / PARAMS_FILE), "report", root / PARAMS_FILE)
    candidate = (read_json(root / "metrics" / "gate.json") or {}).get("candidate", {})
    return contracts.summary(contracts.check(cfg.contracts, known, candidate.get("method")))


def report_path(root: Path) -> Path | None:
    path = root / "artifacts" / "report" / "report.html"
    return path if path.exists() else None


def judge_markdown(root: Path, calls: Calls) -> str | None:
    """The judge card for the Prefect page, with what the calls of `compare` took; None before there is one."""
    card, compare = (read_json(root / "metrics" / f"{name}.json") for name in ("judge", "compare"))
    return judge_card.as_markdown(card, compare) + calls.as_markdown() if card and compare else None


def as_markdown(root: Path) -> str:
    """The same as `show`, for the Prefect page."""
    lines = command.markdown_table(columns(root), score_rows(root))
    for prompt, answers in examples(root):
        rows = [(name, cell(text)) for name, text in answers.items()]
        lines += ["", f"**{cell(prompt)}**", "", *command.markdown_table(("model", "answer"), rows)]
    if decided := verdict(root):
        lines += ["", f"**Verdict: {decided[0]}**", ""] + [f"- {cell(reason)}" for reason in decided[1]]
    if kept := contracts_line(root):
        lines += ["", cell(kept)]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def show(root: Path, console) -> None:
    """Print the table, what each model answers, the verdict and where to read more."""
    from rich.text import Text

    if rows := score_rows(root):
        console.print()
        console.print(command.table(columns(root), rows, "Scores on unseen prompts"))
    for prompt, answers in examples(root):
        console.print()
        console.print(Text(prompt, style="bold"))
        width = max(map(len, answers), default=0)
        for name, text in answers.items():
            console.print(Text.assemble((f"  {name:<{width}} ", "dim"), " ".join(text.split())))
    if decided := verdict(root):
        console.print()
        style = {"promote": "bold green", "reject": "bold red"}.get(decided[0], "bold yellow")
        console.print(Text.assemble("Verdict: ", (decided[0], style)))
        for reason in decided[1]:
            console.print(Text(f"  {reason}"))
    if kept := contracts_line(root):
        console.print(Text(kept))
    if path := report_path(root):
        console.print(Text(f"\nReport: {path}"), soft_wrap=True)
    console.print("Runs, curves and the flow in the browser: plumb up, then open the two addresses it prints.")
