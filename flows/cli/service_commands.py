"""The commands of a model in service: retrain, promote, rollback, lineage, forget, gc, chat, package. As light as
flows/cli/main.py."""

from typing import Annotated

import typer

from flows import command

JsonOutput = Annotated[bool, typer.Option("--json", help="As JSON, for other programs.")]


def promote(
    approve: Annotated[
        str | None,
        typer.Option("--approve", metavar="COMMENT", help="Approve it here; the comment is kept with the version."),
    ] = None,
):
    """Make the candidate of this project champion in the MLflow registry, if its gate says promote.

    Registers the package as a version, loads it back and compares its logits, attaches the gate's evidence, then moves
    the alias `champion`, unless another than the gate compared with serves by now: then a new gate is needed. Where
    promote.policy is approval, the question waits in the Prefect pages. Killed, run it again. Exit code 1 when the
    candidate was refused, with the reason.
    """
    from flows.serving import promoting

    raise typer.Exit(promoting.promote(command.project(), command.console(), approve))


def retrain(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one param for this run, as in --set dpo.beta=0.2."),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option("--commit", help="What to train (origin/main is fetched first); default: what is checked out."),
    ] = None,
    take_in: Annotated[bool, typer.Option("--intake/--no-intake", help="Take in new data from the inbox first.")] = True,
    anchors: Annotated[bool, typer.Option("--anchors/--no-anchors", help="Ask the judges their anchors first.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Decide again although nothing changed.")] = False,
    approve: Annotated[
        str | None,
        typer.Option("--approve", metavar="COMMENT", help="Approve beforehand; the comment is kept."),
    ] = None,
):
    """Take in new data, train if data, code or params changed, and promote, ask or reject as the gate says.

    One decision per data, code, params and champion: if all four are those of a run that was decided, nothing is done,
    and the reason is told. Else everything happens in a clone of the commit (what is not committed stays out) that
    shares the cache: intake, the judges' anchors, every stage that changed, the push to the DVC remote intake.remote,
    and what the verdict asks for. What came out is kept in MLflow and shown by plumb status.

    On a schedule the same flow is the Prefect deployment retrain/retrain: prefect deploy --prefect-file
    infra/prefect.yaml --all. Failures, rejections and open questions are posted to PLUMB_ALERT_URL, if it is set.
    Killed, run it again: it goes on from there. Exit code 0 when a decision was made, whatever it says, 1 when a step
    failed.
    """
    from flows.schedule import retrain_here
    from flows.storage.workspace import parse_settings

    wish = {"changes": parse_settings(settings or []), "commit": commit, "take_in": take_in, "anchors": anchors}
    wish["force"] = force
    raise typer.Exit(retrain_here.retrain(command.project(), command.console(), wish, approve))


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
    from flows.settings import read_settings

    root = command.project()
    from mlflow import MlflowClient

    name = read_settings(root).promote.model_name
    outcome = roll_back(MlflowClient(), name, environment.state_dir(root), registry.number_of(to) if to else None)
    command.console().print(outcome.text, markup=False, highlight=False, soft_wrap=True)


def lineage(
    model: Annotated[
        str | None, typer.Argument(help="models:/NAME@champion or models:/NAME/3 (default: the champion).")
    ] = None,
    row: Annotated[
        str | None, typer.Option("--row", metavar="ID", help="Instead: where this row of the data went.")
    ] = None,
    as_json: JsonOutput = False,
):
    """Show what a registered model was made from: run, stages, judges, comparisons, data, code and params.

    With --row the other way: every version of the data that holds a demonstration, prompt or preference, the
    comparisons that were made of it, and the models and registered versions that were trained on it or chosen by it.
    Everything comes from what MLflow recorded, not from the working tree.
    """
    import json

    from flows.history import lineage as tracing
    from flows.settings import read_settings

    if row is not None and model is not None:
        raise ValueError("name a model or a row, not both")
    root = command.project()
    from mlflow import MlflowClient

    if row is not None:
        _row_lineage(root, row, as_json)
        return
    found = tracing.trace(MlflowClient(), model or f"models:/{read_settings(root).promote.model_name}@champion")
    if as_json:
        print(json.dumps(found, indent=2, sort_keys=True))
    else:
        tracing.show(found, command.console())


def _row_lineage(root, row: str, as_json: bool) -> None:
    import json

    from flows.forgetting.tombstones import tombstones
    from flows.history import row_lineage

    stones = [stone for stone in tombstones(root) if stone.row == row]
    tainted = sorted({version for stone in stones for version in stone.tainted})
    found = {**_traced(root, row).as_document(), "forgotten": {"tainted": tainted} if stones else None}
    if as_json:
        print(json.dumps(found, indent=2, sort_keys=True))
    else:
        row_lineage.show(found, command.console())


def _traced(root, row: str):
    from mlflow import MlflowClient

    from flows.history import row_lineage
    from flows.history.recorded import recorded_runs
    from flows.settings import read_settings
    from flows.storage.objects import Objects

    client = MlflowClient()
    name = read_settings(root).promote.model_name
    return row_lineage.trace(client, name, Objects(root), recorded_runs(client), row)


def forget(
    row: Annotated[
        str, typer.Option("--row", metavar="ID", help="The id of a demonstration, prompt, preference or verdict.")
    ],
):
    """Forget a row on request: take it out of the data, and list the models that were trained on it.

    The data files are written anew without it and pushed; a tombstone in data/*.intake/objects.jsonl keeps intake from
    bringing it back. Older versions, caches and records lose it at the next plumb gc. Killed, run it again.
    """
    from flows.forgetting import forget as forgetting

    root, console = command.project(), command.console()
    with console.status("starting") as status:
        traced = _traced(root, row)
        found = forgetting.forget(root, traced, step=lambda name: status.update(name))
    forgetting.show(found, traced, console)


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without, say only what would go.")] = False,
    remote: Annotated[
        list[str] | None,
        typer.Option("--remote", metavar="NAME", help="Purge forgotten rows from this DVC remote, too; repeatable."),
    ] = None,
    as_json: JsonOutput = False,
):
    """Free what nothing needs any more, and purge the rows that were forgotten; a dry run unless --yes is given.

    Kept is all that the champion, the one before it, a pending version, the last gc.runs runs, the working tree and
    the branches need, and every evaluation set. Freed are objects and run-cache entries of DVC, clones, checkpoints
    and logs of other runs. A forgotten row goes from everywhere, also from what is kept: models stay, tables that held
    it do not. Killed half-way, run it again.
    """
    import json
    import sys

    from flows import environment
    from flows.alignment import local
    from flows.forgetting import gc as collecting
    from flows.settings import read_sections

    root, console = command.project(), command.console()
    state = environment.state_dir(root)
    from mlflow import MlflowClient

    settings = read_sections(root, "gc", "promote")
    with collecting.nobody_else(root, state) as clones, local.Prefect(root) as prefect:
        name, runs = settings["promote"].model_name, settings["gc"].runs
        plan = collecting.make_plan(root, state, clones, MlflowClient(), name, runs, remote or [], prefect)
        if as_json:
            print(json.dumps(plan.as_document(), indent=2))
        else:
            collecting.show(plan, console)
        if not plan.empty and not yes and not as_json and sys.stdin.isatty():
            yes = typer.confirm("Free it?")
        if yes:
            collecting.carry_out(plan)
        elif not plan.empty and not as_json:
            console.print("Nothing was freed: this was a dry run; plumb gc --yes frees it.", markup=False)


def chat(
    model: Annotated[
        str | None,
        typer.Argument(help="models:/NAME@champion or a directory (default: the champion, else the last package)."),
    ] = None,
):
    """Talk with a model in the terminal, sampled as it is served; /quit or Ctrl-D ends it.

    Reads questions from a pipe too, one a line: echo "Can I wash my teddy bear?" | plumb chat
    """
    import os
    from pathlib import Path

    from flows import environment
    from flows.cli import chat as chatting

    # A directory is named from where the user stands.
    model = os.path.abspath(model) if model and Path(model).is_dir() else model
    root = command.project()
    chatting.chat(root, environment.state_dir(root), model)


def package(
    directory: Annotated[str, typer.Argument(metavar="DIRECTORY", help="Where to write it; must not be there yet.")],
    model: Annotated[
        str | None, typer.Argument(help="models:/NAME@champion or models:/NAME/3 (default: the champion).")
    ] = None,
):
    """Write the packaged directory of a registered model, as vLLM and others load it, from the DVC cache or remotes."""
    import os
    from pathlib import Path

    from flows.history import registry
    from flows.serving import package_files
    from flows.settings import read_settings

    target = Path(os.path.abspath(directory))  # named from where the user stands
    root = command.project()
    from mlflow import MlflowClient

    uri = model or f"models:/{read_settings(root).promote.model_name}@champion"
    version = registry.resolve(MlflowClient(), uri)
    package_files.write_out(root, version, target)
    command.console().print(f"{version.uri}: {target}", markup=False, highlight=False, soft_wrap=True)


def add_to(app: typer.Typer) -> None:
    """Make these commands part of `plumb`."""
    for one in (retrain, promote, rollback, lineage, forget, gc, chat, package):
        app.command()(one)
