"""What an intake brought, as a table."""

from flows import command
from flows.incoming.intake import Intake
from flows.incoming.intake_objects import Outcome
from tasks.intake.inbound import printable
from tasks.intake.ledger import by_reason

REASONS = 3


def show(intake: Intake, console) -> None:
    """Print one row per new object, and the commit."""
    from rich.table import Column

    known = f"; {intake.known} known already" if intake.known else ""
    if not intake.outcomes:
        console.print(f"Nothing new in the inbox{known}.")
    else:
        counted = [Column(head, justify="right") for head in ("good", "held out", "duplicates", "quarantined")]
        rows = []
        for outcome in intake.outcomes:
            entry = outcome.entry
            counts = (entry.good, entry.held_out, entry.duplicates, entry.quarantined)
            rows.append((printable(outcome.name), entry.kind or "–", *map(str, counts), _why(outcome)))
        console.print(command.table(("object", "kind", *counted, "why"), rows))
        console.print(f"New objects: {len(intake.outcomes)}{known}.")
    where = "Nothing was committed"
    if intake.branch:
        where = f"Commit {intake.commit[:12]} on {intake.branch} and plumb/data"
    console.print(f"{where}; {intake.data[0]} is {intake.data[1]}", soft_wrap=True)


def _why(outcome: Outcome) -> str:
    if outcome.waits:
        return f"waits: {outcome.waits}"
    if outcome.entry.refused:
        return f"refused: {outcome.entry.refused}"
    reasons = by_reason(outcome.problems)
    lines = [f"line {places}: {reason}" for reason, places in reasons[:REASONS]]
    more = len(reasons) - REASONS
    marked = outcome.entry.with_marks
    return "\n".join([
        *lines,
        *([f"and {more} more reasons"] if more > 0 else []),
        *([f"{marked} good rows hold control tokens of the model, which are kept as text"] if marked else []),
    ])
