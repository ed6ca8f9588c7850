"""`plumb judge-check`: a reward model, a judge or a file of verdicts held against labelled pairs. As light as
flows/cli/main.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import command
from flows.cli.options import Json, ParamsFile

Interval = Mapping[str, float | None] | None
HEADS = (
    "subset", "pairs", "right", "accuracy [CI]", "κ [CI]", "as shown", "swapped", "same winner", "longest", "first",
)  # fmt: skip
EXPLAINED = (
    "right: pairs whose better response is named more often than the worse, over the orders asked. accuracy and κ: of "
    "the pairs with a usable verdict in each order; a tie, and another winner after a swap (not the same winner), is "
    "half right. as shown, swapped: the accuracy in each order, of files without an order with the better response "
    "first, then second. longest, first: the accuracy of always naming that response."
)


def judge_check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Labelled pairs: .jsonl[.gz], .json, .csv, .tsv, .parquet.")
    ],
    reward: Annotated[
        Path | None, typer.Option("--reward", metavar="DIR", help="A reward model directory, such as artifacts/reward.")
    ] = None,
    judge: Annotated[str | None, typer.Option("--judge", metavar="NAME", help="A judge of compare.judges.")] = None,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Calls to that judge, at most (default: compare.budget.max_calls).")
    ] = None,
    subset_column: Annotated[str | None, typer.Option(help="Column of subsets, if not the form's own.")] = None,
    verdict_column: Annotated[str, typer.Option(help="Column of verdicts.")] = "verdict",
    swapped_column: Annotated[
        str, typer.Option(help="Column of verdicts with the responses swapped.")
    ] = "verdict_swapped",
    params: ParamsFile = None,
    as_json: Json = False,
):
    """Check a reward model, a judge, or the verdicts in a file on pairs of which the better response is known.

    Files have the forms of RewardBench (prompt, chosen, rejected, each maybe a list), RM-Bench (lists of styles),
    JudgeBench, LLMBar, or any form of preferences that the data may have. Without --reward or --judge the verdicts are
    the file's: JudgeBench's judgments, LLMBar's results, score_chosen and score_rejected, or columns with words such as
    first, second, A>B, chosen, tie. A judge is asked in both orders; its answers are kept, and are not paid for twice.
    Intervals are over prompts. Exit code 0 whatever is found, 1 for files that cannot be read.
    """
    from flows.cli import inspection

    if reward is not None and judge is not None:
        raise ValueError("--reward and --judge name two that would be checked; give one of them")
    document = command.document_of(
        "judge_check.judge_check", files=list(map(str, files)), params=inspection.params_file(params), reward=reward,
        judge=judge, max_calls=max_calls,
        columns={"subset": subset_column, "verdict": verdict_column, "swapped": swapped_column},
    )  # fmt: skip
    command.show_document(document, as_json, show)


def show(document: Mapping[str, Any], console) -> None:
    """Print who is right by subset, what the verdicts lean to, and RM-Bench's levels where there are styles."""
    from rich.table import Column

    total = document["total"]
    title = f"{document['checked']} on {total['pairs']} labelled pairs of {total['rows']} rows"
    heads = [Column(head, no_wrap=head.endswith("[CI]")) for head in HEADS]
    rows = [_cells(name, group) for name, group in {**document["subsets"], "all": total}.items()]
    console.print(command.table(heads, rows, title))
    for line in [EXPLAINED, *_lines(total), *(f"note: {note}" for note in document["notes"])]:
        console.print(line)
    if document["styles"]:
        _show_styles(document["styles"], console)


def _cells(name: str, group: Mapping[str, Any]) -> list[str]:
    others = [*group["orders"], *(group[key] for key in ("swap_agreement", "longest", "first"))]
    exact = [_interval(group[key]) for key in ("accuracy", "kappa")]
    return [name, str(group["pairs"]), _value(group["right"]), *exact, *map(_value, others)]


def _lines(total: Mapping[str, Any]) -> list[str]:
    first = f"the response shown first in {_interval(total['prefers_first'])} and " if total["prefers_first"] else ""
    lines = [
        f"Verdicts name {first}the longer response in {_interval(total['prefers_longer'])}; "
        f"{_interval(total['unusable'])} of them are unusable."
    ]
    if total["best_of_n"]:
        rows = _interval(total["best_of_n"])
        lines.append(f"Best of N, every better response before every worse one: {rows} of the rows.")
    accuracy, longest = total["accuracy"], total["longest"]
    if accuracy and (accuracy["ci_low"] is None or accuracy["ci_low"] <= max(longest["value"], 1 - longest["value"])):
        lines.append("That is not clearly better than length alone, always the longer response or always the shorter.")
    return lines


def _show_styles(styles: Mapping[str, Any], console) -> None:
    levels = ("easy", "normal", "hard", "mean")
    console.print("By style, a tie being wrong: easy is the better response in the fancier style, hard in the plainer.")
    domains = {**styles["domains"], "mean of domains": styles["mean"]}
    rows = [(name, *(f"{accuracy[level]:.3f}" for level in levels)) for name, accuracy in domains.items()]
    console.print(command.table(("domain", *levels), rows))


def _value(interval: Interval) -> str:
    return "–" if interval is None else f"{interval['value']:.3f}"


def _interval(interval: Interval) -> str:
    if interval is None or interval["ci_low"] is None:
        return _value(interval)
    return f"{interval['value']:.3f} [{interval['ci_low']:.3f}, {interval['ci_high']:.3f}]"
