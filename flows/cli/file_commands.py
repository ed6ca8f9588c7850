"""The commands that read any file: ratings, winrate, inspect; judge-check has one of its own. As light as
flows/cli/main.py."""

from pathlib import Path
from typing import Annotated

import typer

from flows import command
from flows.cli.options import Json, ParamsFile

Resamples = Annotated[int, typer.Option(min=2, help="Bootstrap resamples of the prompts.")]
Confidence = Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")]
Seed = Annotated[int, typer.Option(help="Of the resamples.")]


def ratings(
    file: Annotated[Path, typer.Argument(help="Battles: .jsonl[.gz], .json (a list), .csv, .tsv or .parquet.")],
    order: Annotated[bool, typer.Option(help="Fit the advantage of being shown first, if the table tells it.")] = True,
    style: Annotated[bool, typer.Option("--style", help="Control for length, headers, lists and bold.")] = False,
    elo: Annotated[bool, typer.Option("--elo", help="Also show Elo, and how far order alone moves it.")] = False,
    anchor: Annotated[str | None, typer.Option(help="The model whose strength is 0 (default: the mean is).")] = None,
    resamples: Resamples = 1000,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
    as_json: Json = False,
):
    """Rate models from a table of battles: Bradley-Terry strengths with intervals.

    The intervals are over prompts. A row is a battle: first and second (or model_a and model_b) name the models,
    p_first (0 to 1) or winner (first, second, model_a, model_b, tie) the outcome, prompt_id or root the prompt. --style
    also needs the answers (first_response and second_response, response_a and response_b, or the Arena's
    conversations). A tie counts half; the advantage of being shown first is a parameter where the data can tell it.
    """
    from flows.cli.ratings import show_ratings
    from tasks.tools.ratings import Bootstrap, rate_file

    settings = Bootstrap(confidence, resamples, seed)
    document = rate_file(file, order=order, style=style, anchor=anchor, with_elo=elo, settings=settings)
    command.show_document(document, as_json, show_ratings)


def winrate(
    file: Annotated[Path, typer.Argument(help="Judged answers, in a file of the same kinds.")],
    against: Annotated[str, typer.Option(help="The model to compare with.")],
    model: Annotated[list[str] | None, typer.Option(help="The model to rate; repeatable (default: all).")] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Judged answers of many models (default: FILE, if it holds many).")
    ] = None,
    resamples: Resamples = 1000,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
    as_json: Json = False,
):
    """Win rates against one model: raw, and at equal length, with intervals.

    Length is controlled twice: as in AlpacaEval 2, and by a rate of ours, in which what length is worth is the judge's,
    as a pool of models shows it, or within limits.

    Rows are as in `plumb ratings`; both orders of a pair are averaged. Length control needs the answers, or their
    lengths as first_length and second_length.
    """
    from flows.cli.ratings import show_win_rates
    from tasks.tools.ratings import Bootstrap, win_rates_of_file

    settings = Bootstrap(confidence, resamples, seed)
    documents = win_rates_of_file(file, against, model or (), pool=pool, settings=settings)
    command.show_document(documents, as_json, show_win_rates)


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Answers: .jsonl[.gz], .json (a list), .csv, .tsv or .parquet.")
    ],
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Answers of a second model to compare with.")
    ] = None,
    model_column: Annotated[str | None, typer.Option(help="Column that says which model answered.")] = None,
    reference: Annotated[str | None, typer.Option(help="Model of --model-column to hold the others against.")] = None,
    prompt_column: Annotated[str | None, typer.Option(help="Column of prompts, if not one of the usual names.")] = None,
    response_column: Annotated[str | None, typer.Option(help="Column of responses, likewise.")] = None,
    score_column: Annotated[str | None, typer.Option(help="Column of the reward, likewise.")] = None,
    keep_empty: Annotated[bool, typer.Option("--keep-empty", help="Count empty responses as broken answers.")] = False,
    params: ParamsFile = None,
    as_json: Json = False,
):
    """Look for hacks and collapse in any table of prompts and responses.

    Praise, padding, over-caution, loops, one answer for everything, truncation, little diversity, a reward that loves
    length. On its own a table is held against absolute limits; with --against, or --reference, against a second model.
    Columns are `prompt` and `response`, or `messages`; `reward`, `gold`, `finished` and `harmful` are used where they
    are. The limits stand in params.yaml under monitors.limits. Exit code 0 whatever is found, 1 for a table that cannot
    be read.
    """
    from flows.cli import inspection

    if reference is not None and model_column is None:
        raise ValueError("--reference names a model of --model-column; give that, too, or a second table by --against")
    columns = {"prompt": prompt_column, "response": response_column, "score": score_column, "model": model_column}
    document = command.document_of(
        "inspection.inspect", file=file, against=against, columns=columns, reference=reference,
        params=inspection.params_file(params), keep_empty=keep_empty,
    )  # fmt: skip
    command.show_document(document, as_json, inspection.show)
