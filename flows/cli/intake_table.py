"""What an intake brought, as a table."""

from flows.incoming.intake import Intake
from flows.incoming.intake_objects import Outcome
from tasks.intake.inbound import printable
from tasks.intake.ledger import by_reason

REASONS = 3


def show(intake: Intake, console) -> None:
    """Print one row per new object, and the commit."""
    from rich.table import Table

    known = f"; {intake.known} known already" if intake.known else ""
    if not intake.outcomes:
        console.print(f"Nothing new in the inbox{known}.")
    else:
        table = Table("object", "kind", "good", "held out", "duplicates", "quarantined", "why")
        for column in table.columns[2:6]:
            column.justify = "right"
        for outcome in intake.outcomes:
            entry = outcome.entry
            counts = [entry.good, entry.held_out, entry.duplicates, entry.quarantined]
            table.add_row(_plain(printable(outcome.name)), entry.kind or "–", *map(str, counts), _plain(_why(outcome)))
        console.print(table)
        console.print(f"New objects: {len(intake.outcomes)}{known}.")
    where = "Nothing was committed"
    if intake.branch:
        where = f"Commit {intake.commit[:12]} on {intake.branch} and plumb/data"
    console.print(f"{where}; {intake.data[0]} is {intake.data[1]}", soft_wrap=True, highlight=False)


def _why(outcome: Outcome) -> str:
    if outcome.waits:
        return f"waits: {outcome.waits}"
    if outcome.entry.refused:
        return f"refused: {outcome.entry.refused}"
    reasons = by_reason(outcome.problems)
    lines = [f"line {numbers}: {reason}" for reason, numbers in reasons[:REASONS]]
    more = len(reasons) - REASONS
    marked = outcome.entry.with_marks
    return "\n".join([
        *lines,
        *([f"and {more} more reasons"] if more > 0 else []),
        *([f"{marked} good rows hold control tokens of the model, which are kept as text"] if marked else []),
    ])


def _plain(text: str):
    """The text as it is: a key may hold what rich takes for markup."""
    from rich.text import Text

    return Text(text)
