"""One round of questions to a panel: ratings of responses, or verdicts on pairs in both orders."""

from collections.abc import Sequence

from models.judges.asking import Asker
from models.judges.base import Judge, Question, Ratings, Row
from models.judges.panel import Method, PairVerdict


def ask_both_orders(
    asker: Asker, judges: Sequence[Judge], pairs: Sequence[tuple[Row, str, str]], *, key: str, method: Method = "mean"
) -> list[PairVerdict | None]:
    """Every judge on (a, b) and on (b, a) for each (row, a, b): 2 * len(judges) verdicts a pair.

    None for a pair that the budget left without some of its verdicts.
    """
    items = [
        (judge, Question(row, first, second, key))
        for row, a, b in pairs
        for first, second in ((a, b), (b, a))
        for judge in judges
    ]
    answers, width = asker.ask(items), len(judges)
    verdicts: list[PairVerdict | None] = []
    for start in range(0, len(answers), 2 * width):
        both = answers[start : start + 2 * width]
        verdicts.append(None if None in both else PairVerdict(tuple(both[:width]), tuple(both[width:]), method))
    return verdicts


def ask_ratings(
    asker: Asker, judges: Sequence[Judge], responses: Sequence[tuple[Row, str]]
) -> list[tuple[Ratings, ...] | None]:
    """Each judge's ratings of each (row, response), empty from judges that only compare; None for a response that the
    budget left without some of them."""
    raters = [getattr(judge, "rates", True) for judge in judges]
    asked = [judge for judge, rates in zip(judges, raters, strict=True) if rates]
    answers = iter(asker.ask([(judge, Question(row, text)) for row, text in responses for judge in asked]))
    groups = [tuple(next(answers) if rates else {} for rates in raters) for _ in responses]
    return [None if None in group else group for group in groups]
