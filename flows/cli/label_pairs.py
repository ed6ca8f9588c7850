"""`plumb pairs`: what people are asked to judge. As light as flows/cli/main.py."""

from pathlib import Path
from typing import Annotated

import typer

from flows import command


def pairs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: .csv, .json or .jsonl; it must be new.")],
):
    """Write the pairs that compare judges into a file for people: prompt, two texts, and the hashes that name them.

    A spreadsheet opens the CSV, with empty columns for annotator, verdict (first, second or tie) and at (when);
    Label Studio and Argilla import the JSON. A verdict belongs to the texts: keep the columns that end in _sha256, or
    the texts as they are, in what is exported. A judge of kind human in compare.judges reads the export, its `columns`
    say what the tool calls them; or put it into the inbox, below verdicts/.
    """
    file = file.absolute()
    command.project()
    found = command.document_of("label_pairs.document", out=file)
    print(f"{found['pairs']} pairs of policy {found['policy']} are in {found['file']}")


def add_to(app: typer.Typer) -> None:
    """Make the command part of `plumb`."""
    app.command()(pairs)
