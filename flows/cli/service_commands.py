"""The commands of a model in service: retrain, promote, rollback, lineage, forget, chat, package. As light as
flows/cli/main.py."""

from pathlib import Path
from typing import Annotated

import typer

from flows import command
from flows.cli.options import Approve, Json, Model, Settings


def promote(approve: Approve = None):
    """Make the candidate of this project champion in MLflow, if its gate says promote.

    Registers the package as a version, loads it back and compares its logits, attaches the gate's evidence, then moves
    the alias `champion`, unless another than the gate compared with serves by now: then a new gate is needed. Where
    promote.policy is approval, the question waits in the Prefect pages. Killed, run it again. Exit code 1 when the
    candidate was refused, with the reason.
    """
    from flows.serving import promoting

    raise typer.Exit(promoting.promote(command.project(), command.console(), approve))


def retrain(
    settings: Settings = None,
    commit: Annotated[
        str | None,
        typer.Option("--commit", help="What to train (origin/main is fetched first); default: what is checked out."),
    ] = None,
    take_in: Annotated[bool, typer.Option("--intake/--no-intake", help="Take in what is in the inbox first.")] = True,
    anchors: Annotated[bool, typer.Option("--anchors/--no-anchors", help="Ask the judges their anchors first.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Decide again although nothing changed.")] = False,
    approve: Approve = None,
):
    """Take in new data, train if anything changed, and promote, ask or reject as the gate says.

    One decision per data, code, params and champion: if all four are those of a run that was decided, nothing is done,
    and the reason is told. Else everything happens in a clone of the commit (what is not committed stays out) that
    shares the cache: intake, the judges' anchors, every stage that changed, the push to the DVC remote intake.remote,
    and what the verdict asks for. What came out is kept in MLflow and shown by plumb status.

    On a schedule the same flow is the Prefect deployment retrain/retrain: prefect deploy --prefect-file
    infra/prefect.yaml --all. Failures, rejections and open questions are posted to PLUMB_ALERT_URL, if it is set.
    Killed, run it again: it goes on from there. Exit code 0 when a decision was made, whatever it says, 1 when a step
    failed.
    """
    from flows.schedule.retrain_here import retrain as run
    from flows.storage.workspace import parse_settings

    parameters = {"commit": commit, "take_in": take_in, "anchors": anchors, "force": force}
    parameters["changes"] = parse_settings(settings or [])
    raise typer.Exit(run(command.project(), command.console(), parameters, approve))


def rollback(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="vN", help="Return to this earlier champion (default: the replaced one)."),
    ] = None,
):
    """Make the version that the champion replaced champion again, in one command.

    The version that is left is marked, and its gate does not promote it again; a new gate can. Killed, run it again: an
    interrupted rollback is finished, not repeated.
    """
    from flows import environment
    from flows.history import registry
    from flows.serving.rollback import roll_back

    root = command.project()
    client, name = command.mlflow_client(), _model_name(root)
    outcome = roll_back(client, name, environment.state_dir(root), registry.number_of(to) if to else None)
    command.console().print(outcome.text, soft_wrap=True)


def _model_name(root: Path) -> str:
    from flows.settings import read_settings

    return read_settings(root).promote.model_name


def lineage(
    model: Model = None,
    row: Annotated[
        str | None, typer.Option("--row", metavar="ID", help="Instead: where this row of the data went.")
    ] = None,
    as_json: Json = False,
):
    """Show what a registered model was made from, or where a row of the data went.

    The first is run, stages, judges, comparisons, data, code and params. With --row the other way: every version of the
    data that holds a demonstration, prompt or preference, the comparisons that were made of it, and the models and
    registered versions that were trained on it or chosen by it. Everything comes from what MLflow recorded, not from
    the working tree.
    """
    from flows.forgetting.tombstones import tombstones
    from flows.history import lineage as tracing
    from flows.history import row_lineage

    if row is not None and model is not None:
        raise ValueError("name a model or a row, not both")
    root = command.project()
    if row is None:
        document = tracing.trace(command.mlflow_client(), model or f"models:/{_model_name(root)}@champion")
        command.show_document(document, as_json, tracing.show)
        return
    stones = [stone for stone in tombstones(root) if stone.row == row]
    tainted = sorted({version for stone in stones for version in stone.tainted})
    document = {**_traced(root, row).as_document(), "forgotten": {"tainted": tainted} if stones else None}
    command.show_document(document, as_json, row_lineage.show)


def _traced(root: Path, row: str):
    from flows.history import row_lineage
    from flows.history.recorded import recorded_runs
    from flows.storage.objects import Objects

    client = command.mlflow_client()
    return row_lineage.trace(client, _model_name(root), Objects(root), recorded_runs(client, deleted=True), row)


def forget(
    row: Annotated[
        str, typer.Option("--row", metavar="ID", help="The id of a demonstration, prompt, preference or verdict.")
    ],
):
    """Forget a row on request, and list the models that were trained on it.

    The data files are written anew without it and pushed; a tombstone in data/*.intake/objects.jsonl keeps intake from
    bringing it back. Older versions, caches and records lose it at the next plumb gc. Killed, run it again.
    """
    from flows.forgetting import forget as forgetting

    root, console = command.project(), command.console()
    with console.status("starting") as status:
        traced = _traced(root, row)
        forgotten = forgetting.forget(root, traced, step=status.update)
    forgetting.show(forgotten, traced, console)


def chat(
    model: Annotated[
        str | None,
        typer.Argument(help="models:/NAME@champion or a directory (default: the champion, else the last package)."),
    ] = None,
):
    """Talk with a model in the terminal, sampled as it is served; /quit ends it.

    Ctrl-D ends it, too. Reads questions from a pipe as well, one a line: echo "Can I wash my teddy bear?" | plumb chat
    """
    from flows import environment
    from flows.cli import chat as chatting

    # A directory is named from where the user stands.
    model = str(Path(model).absolute()) if model and Path(model).is_dir() else model
    root = command.project()
    chatting.chat(root, environment.state_dir(root), model)


def package(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIRECTORY", resolve_path=True, help="Where to write it; must not be there yet."),
    ],
    model: Model = None,
):
    """Write a registered model's packaged directory, as vLLM and others load it.

    It comes from the DVC cache, else from a remote.
    """
    from flows.history import registry
    from flows.serving import package_files

    root = command.project()
    version = registry.resolve(command.mlflow_client(), model or f"models:/{_model_name(root)}@champion")
    package_files.write_out(root, version, directory)
    command.console().print(f"{version.uri}: {directory}", soft_wrap=True)
