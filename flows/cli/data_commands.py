"""The commands of the data and of who judges it, and gc. As light as flows/cli/main.py."""

from pathlib import Path
from typing import Annotated

import typer

from flows import command
from flows.cli.options import Json, ParamsFile, Settings


def intake(
    inbox: Annotated[
        str | None, typer.Option("--inbox", metavar="s3://BUCKET/PREFIX", help="Look here instead of at intake.inbox.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would become of each object.")] = False,
):
    """Take new demonstrations, preferences and verdicts from the S3 inbox into the data.

    Objects lie below demonstrations/, preferences/ or verdicts/ of the inbox, as .jsonl or .jsonl.gz (verdicts also as
    .csv). Every row is checked: bad ones are quarantined with line and reason, known ones are passed over, and what
    nearly repeats a prompt of select or gate stays out. The data goes to the DVC remote intake.remote; pointer and
    ledger are pushed to the branch plumb/data and to one run/… on top of the commit at hand. Killed, run it again:
    nothing is lost or doubled. Access keys and the endpoint come from the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3).
    """
    from flows.cli.intake_table import show
    from flows.incoming.intake import take_in

    root, console = command.project(), command.console()
    with console.status("starting") as status:
        taken = take_in(root, inbox, dry_run, step=status.update)
    show(taken, console)


def anchors(settings: Settings = None, params: ParamsFile = None):
    """Ask the judges their anchors, and say whether one answers otherwise than it did.

    Anchors are the fixed pairs in the file that `anchors.file` names, asked of the judges of the comparisons in both
    orders and past the store of verdicts. A judge's first answers are its baseline; raising its epoch in params.yaml
    begins a new one. A scheduled run does the same before it starts (plumb align --anchors). Exit code 1 when a judge
    moved further than anchors.max_drift.
    """
    from flows import environment
    from flows.alignment import anchors as anchoring

    root, console = command.project(), command.console()
    place = command.workspace(root, settings, params, console)
    raise typer.Exit(anchoring.by_hand(place, environment.state_dir(root), console))


def pairs(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", resolve_path=True, help="What to write: .csv, .json or .jsonl; it must be new."),
    ],
):
    """Write the pairs that compare judges into a file for people to judge.

    Each has the prompt, two texts, and the hashes that name them. A spreadsheet opens the CSV, with empty columns for
    annotator, verdict (first, second or tie) and at (when); Label Studio and Argilla import the JSON. A verdict belongs
    to the texts: keep the columns that end in _sha256, or the texts as they are, in what is exported. A judge of kind
    human in compare.judges reads the export, its `columns` say what the tool calls them; or put it into the inbox,
    below verdicts/.
    """
    command.project()
    written = command.document_of("label_pairs.document", out=file)
    print(f"{written['pairs']} pairs of policy {written['policy']} are in {written['file']}")


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without, say only what would go.")] = False,
    remote: Annotated[
        list[str] | None,
        typer.Option("--remote", metavar="NAME", help="Purge forgotten rows from this DVC remote, too; repeatable."),
    ] = None,
    as_json: Json = False,
):
    """Free what nothing needs any more, and purge forgotten rows; a dry run without --yes.

    Kept is all that the champion, the one before it, a pending version, the last gc.runs runs, the working tree and
    the branches need, and every evaluation set. Freed are objects and run-cache entries of DVC, clones, checkpoints
    and logs of other runs. A forgotten row goes from everywhere, also from what is kept: models stay, tables that held
    it do not. Killed half-way, run it again.
    """
    import sys

    from flows import environment
    from flows.alignment import local
    from flows.forgetting import gc as collecting
    from flows.settings import read_sections

    root, console = command.project(), command.console()
    state, client = environment.state_dir(root), command.mlflow_client()
    settings = read_sections(root, "gc", "promote")
    name, runs = settings["promote"].model_name, settings["gc"].runs
    with collecting.nobody_else(root, state) as clones, local.Prefect(root) as prefect:
        plan = collecting.make_plan(root, state, clones, client, name, runs, remote or [], prefect)
        if as_json:
            command.show_document(plan.as_document(), as_json, collecting.show)
        else:
            collecting.show(plan, console)
        if not plan.empty and not yes and not as_json and sys.stdin.isatty():
            yes = typer.confirm("Free it?")
        if yes:
            collecting.carry_out(plan)
        elif not plan.empty and not as_json:
            console.print("Nothing was freed: this was a dry run; plumb gc --yes frees it.")
