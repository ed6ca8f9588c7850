"""Options that several commands have. As light as flows/cli/main.py."""

from pathlib import Path
from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one param for this run, as in dpo.beta=0.2; repeatable."),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", resolve_path=True, help="Use this params file instead of params.yaml."),
]
Cores = Annotated[
    int | None, typer.Option(min=1, help="Stages that may run side by side (default: the cores of this machine).")
]
Approve = Annotated[
    str | None, typer.Option("--approve", metavar="COMMENT", help="Approve here; the comment is kept with the version.")
]
Model = Annotated[
    str | None, typer.Argument(help="models:/NAME@champion or models:/NAME/3 (default: the champion).")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for other programs.")]
