"""`plumb inspect`: the monitors over a table of answers, shown as findings with numbers, thresholds and examples."""

from pathlib import Path
from typing import Any

from flows import command

STYLES = {"ok": "green", "warning": "bold yellow", "veto": "bold red"}
SHOWN_CHARACTERS = 200


def params_file(given: Path | None) -> Path | None:
    """The params file to read: the one given, or the project's, where this folder lies in one with monitors."""
    if given is not None:
        return given
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder / "params.yaml"
    return None


def show(document: dict[str, Any], console) -> None:
    """Print a table of findings for each model, then examples of what is above its threshold."""
    for name, table in document["tables"].items():
        _show_table(name, table, document["reference"], console)


def _show_table(name: str, table: dict[str, Any], reference: str | None, console) -> None:
    from rich.text import Text

    compared = ["reference"] if reference else []
    title = f"{name}: {table['answers']} answers to {table['prompts']} prompts"
    title += f", against {reference}" if reference else ""
    heads = ("monitor", "number", *compared, "warning from", "veto from", "level", "finding")
    rows = []
    for one in table["findings"]:
        values = [one["number"], *(one[name] for name in compared), one["threshold"], one["veto"]]
        rows.append([one["name"], *map(_number, values), (one["level"], STYLES[one["level"]]), one["sentence"]])
    console.print(command.table(heads, rows, title))
    raised = [one for one in table["findings"] if one["level"] != "ok"]
    for one in raised:
        console.print(Text.assemble("\n", (one["level"], STYLES[one["level"]]), f" {one['name']}: {one['sentence']}"))
        for example in one["examples"]:
            _show_example(example, reference, console)
    if not raised:
        what = "Nothing that could be measured is" if table["notes"] else "Nothing is"
        console.print(f"{what} above its threshold.")
    for note in table["notes"]:
        console.print(f"note: {note}")


def _show_example(example: dict[str, Any], reference: str | None, console) -> None:
    from rich.text import Text

    console.print(Text(f"  {_short(example['prompt'])}", style="bold"))
    console.print(Text(f"    {_short(example['response'])}"))
    if example["reference"] is not None:
        console.print(Text(f"    {reference}: {_short(example['reference'])}", style="dim"))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARACTERS else f"{flat[:SHOWN_CHARACTERS]} …"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
