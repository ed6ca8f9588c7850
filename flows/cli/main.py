"""`plumb`: the command line. Nothing heavy is imported before a command needs it."""

import sys

import typer

from flows.cli import data_commands, file_commands, project_commands, server_commands, service_commands
from flows.cli.judge_check import judge_check

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Align a language model and prove that it got better.\n\n"
        "DVC knows what must be rebuilt, Prefect runs it, MLflow remembers how it went. The graph of stages stands in "
        "dvc.yaml, every number that can change a result in params.yaml; a stage runs when its command, its code, its "
        "params or its inputs changed, and never otherwise.\n\n"
        "Start with `plumb doctor` (is this machine ready?), then `plumb plan` (what would run, and what did it cost "
        "last time?), then `plumb align`. `plumb COMMAND --help` says more."
    ),
)

# Who uses them when.
COMMANDS = {
    "Every day": (
        project_commands.doctor, project_commands.plan, project_commands.align, project_commands.status,
        service_commands.chat,
    ),
    "A model in service": (
        service_commands.retrain, service_commands.promote, service_commands.rollback, service_commands.package,
        service_commands.lineage, data_commands.intake, data_commands.anchors, data_commands.pairs,
    ),
    "On any file": (file_commands.ratings, file_commands.winrate, file_commands.inspect, judge_check),
    "Servers and upkeep": (
        server_commands.up, server_commands.setup_server, service_commands.forget, data_commands.gc,
        project_commands.seeds, project_commands.hacking,
    ),
}  # fmt: skip
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> None:
    """The entry point: what the user can put right is a line (of several, each) and exit code 1, never a traceback."""
    try:
        app()
    except Exception as error:
        # MLflow's errors are known by their module: importing it to name them costs seconds.
        if not isinstance(error, ValueError | OSError) and not type(error).__module__.startswith("mlflow."):
            raise
        from flows.hosting import login
        from flows.redact import redact
        from tasks.common.errors import ManyErrors

        message = str(error) if isinstance(error, ManyErrors) else " ".join(str(error).split())
        text = login.mlflow_advice() if login.refused_by_mlflow(error) else message
        print(f"plumb: {redact(text)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("plumb: stopped; finished stages are kept, the next plumb align goes on from there", file=sys.stderr)
        sys.exit(130)
