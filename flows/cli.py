"""`plumb`: the command line. Nothing heavy is imported before a command needs it."""

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Align a language model and prove it: DVC knows what must be rebuilt, Prefect runs it, MLflow remembers.",
)


def _console():
    import sys

    from rich.console import Console

    # Tables need room; where nobody watches a terminal, lines may be as long as they like.
    return Console() if sys.stdout.isatty() else Console(width=160, soft_wrap=False)


@app.callback()
def _plumb():
    pass


@app.command()
def align():
    """Bring every stage up to date: pull what is missing, run what changed, log it, print the result."""
    from flows import environment, local

    raise typer.Exit(local.align(environment.project_root(), _console()))


def main() -> None:
    """The entry point: what the user can put right is one line and exit code 1, never a traceback."""
    import sys

    try:
        app()
    except ValueError as error:
        print(f"plumb: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("plumb: stopped; finished stages are kept, the next plumb align goes on from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
