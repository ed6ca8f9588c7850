"""Ratings and win rates as tables on the terminal: `plumb ratings` and `plumb winrate`."""

from typing import Any

from flows import command


def show_ratings(document: dict[str, Any], console) -> None:
    """Print what `tasks.tools.ratings.rate_file` found."""
    elo = document.get("elo", {})
    grouped = any(row["group"] > 1 for row in document["models"])
    heads = [*(["group"] if grouped else []), "rank", "model", "strength [CI]", "as Elo", "win rate", "battles"]
    heads += [*(["Elo [range over orders]"] if elo else []), "flags"]
    rows = [
        [
            *([str(row["group"])] if grouped else []),
            "–" if row["rank"] is None else str(row["rank"]),
            row["model"],
            _estimate(row["strength"], "+.2f"),
            f"{row['elo_scale']:.0f}",
            f"{row['win_rate']:.3f}",
            str(row["battles"]),
            *([_elo(elo[row["model"]])] if elo else []),
            ", ".join(row["flags"]),
        ]
        for row in document["models"]
    ]
    console.print(command.table(heads, rows))
    for line in _rating_lines(document):
        console.print(line)


_RANKED = "; the rank counts the models that are certainly stronger."


def _rating_lines(document: dict[str, Any]) -> list[str]:
    ranked = any(row["rank"] is not None for row in document["models"])
    lines = [
        f"{document['battles']} battles on {document['prompts']} prompts, {document['ties']:.1%} ties. Strengths are "
        f"log-odds (1 is 73% against the mean){_RANKED if ranked else '.'}"
    ]
    if document["order_effect"]:
        lines.append(f"Shown first: {_estimate(document['order_effect'], '+.2f')} log-odds.")
    if document["style"]:
        effects = ", ".join(f"{name} {_estimate(effect, '+.2f')}" for name, effect in document["style"].items())
        lines.append(f"Style, log-odds per typical difference: {effects}. Strengths are those at equal style.")
    if document.get("elo"):
        name, widest = max(document["elo"].items(), key=lambda item: item[1]["spread"])
        lines.append(
            f"Elo depends on the order of the battles: shuffling them alone moves {name} by {widest['spread']:.0f} "
            "points. Rank by strength."
        )
    return [*lines, *(f"note: {note}" for note in document["notes"])]


def show_win_rates(documents: list[dict[str, Any]], console) -> None:
    """Print what `tasks.tools.ratings.win_rates_of_file` found."""
    heads = ("model", "against", "prompts", "win rate [CI]", "length-controlled (AlpacaEval 2) [CI]",
             "length-adjusted (ours) [CI]", "effect of length")
    rows = []
    for row in documents:
        controlled, effect = (row["length_controlled"], row["length_adjusted"]), row["length_effect"]
        rows.append([
            row["model"], row["against"], str(row["prompts"]), _estimate(row["raw"], ".3f"),
            *(_estimate(one, ".3f") if one else "–" for one in controlled),
            f"{effect:+.2f}" if effect is not None else "–",
        ])  # fmt: skip
    console.print(command.table(heads, rows))
    models_by_note: dict[str, list[str]] = {}
    for row in documents:
        for note in row["notes"]:
            models_by_note.setdefault(note, []).append(row["model"])
    for note, models in models_by_note.items():
        console.print(f"note ({', '.join(models)}): {note}")


def _estimate(estimate: dict[str, float | None], form: str) -> str:
    value = f"{estimate['value']:{form}}"
    if estimate["ci_low"] is None:
        return value
    return f"{value} [{estimate['ci_low']:{form}}, {estimate['ci_high']:{form}}]"


def _elo(elo: dict[str, float]) -> str:
    return f"{elo['rating']:.0f} [{elo['low']:.0f}, {elo['high']:.0f}]"
