"""One round of questions to a panel: ratings of responses, or verdicts on pairs in both orders."""

from collections.abc import Sequence

from models.judges.asking import Asker
from models.judges.base import Judge, Question, Ratings, Row
from models.judges.panel import Method, PairVerdict


def ask_both_orders(
    asker: Asker, judges: Sequence[Judge], pairs: Sequence[tuple[Row, str, str]], *, key: str, method: Method = "mean",
    finished: Sequence[tuple[bool, bool]] | None = None,
) -> list[PairVerdict | None]:
    """Every judge on (a, b) and on (b, a) for each (row, a, b): 2 * len(judges) verdicts a pair.

    finished: whether a and b end their turn; None: all do. The result is None for a pair that the budget left without
    some of its verdicts.
    """
    ends = [(True, True)] * len(pairs) if finished is None else finished
    items = [
        (judge, question)
        for (row, a, b), (a_ends, b_ends) in zip(pairs, ends, strict=True)
        for question in (Question(row, a, b, key, (a_ends, b_ends)), Question(row, b, a, key, (b_ends, a_ends)))
        for judge in judges
    ]
    answers, width = asker.ask(items), len(judges)
    verdicts: list[PairVerdict | None] = []
    for start in range(0, len(answers), 2 * width):
        both = answers[start : start + 2 * width]
        verdicts.append(None if None in both else PairVerdict(tuple(both[:width]), tuple(both[width:]), method))
    return verdicts


def ask_ratings(
    asker: Asker, judges: Sequence[Judge], responses: Sequence[tuple[Row, str]],
    finished: Sequence[bool] | None = None,
) -> list[tuple[Ratings, ...] | None]:
    """Each judge's ratings of each (row, response), empty from judges that only compare; None for a response that the
    budget left without some of them. finished: which responses end their turn; None: all do."""
    raters = [getattr(judge, "rates", True) for judge in judges]
    rating_judges = [judge for judge, rates in zip(judges, raters, strict=True) if rates]
    ends = [True] * len(responses) if finished is None else finished
    questions = [Question(row, text, finished=(end, True)) for (row, text), end in zip(responses, ends, strict=True)]
    answers = iter(asker.ask([(judge, question) for question in questions for judge in rating_judges]))
    groups = [tuple(next(answers) if rates else {} for rates in raters) for _ in responses]
    return [None if None in group else group for group in groups]
