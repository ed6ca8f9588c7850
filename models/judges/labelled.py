"""What verdicts on pairs with a known better response say about the judge: who is right in each order, and in all.

A pure function of labelled pairs. Intervals are by root, as on the judge card.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.judges.agreement import share_interval
from models.judges.base import Verdict
from models.judges.behaviour import Counts, behaviour_counts
from models.judges.card import accuracy_and_kappa, label, longest
from models.judges.panel import PairVerdict

UNUSABLE = Verdict(0.5, valid=False)
_SIGNS = {"first": 1, "second": -1, "tie": 0, "invalid": 0}
_LABELS = {1: "a", -1: "b", 0: "tie"}
Interval = Mapping[str, float | None] | None


@dataclass(frozen=True)
class LabelledPair:
    """Two responses to one prompt, of which it is known whether `a` is the better.

    row: the row of the file that they stand in; a row with several responses makes several pairs. verdicts: what was
    said with a shown first, and with b shown first; None where it was not asked. is_shown: whether the file shows a
    first; else a is the better one. is_scored: whether the verdict compares scores of responses read alone, so that no
    order was asked. styles: the places of the better and of the worse response in RM-Bench's order of styles.
    """

    row: str
    root: str
    subset: str
    a: str
    b: str
    a_is_better: bool
    verdicts: tuple[Verdict | None, Verdict | None]
    is_shown: bool = True
    is_scored: bool = False
    styles: tuple[int, int] | None = None

    @property
    def truth(self) -> str:
        return "a" if self.a_is_better else "b"

    @property
    def labels(self) -> tuple[str | None, str | None]:
        """a, b or tie in each order; None where it was not asked, or the answer is unusable."""
        one, other = (
            None if verdict is None or not verdict.valid else _SIGNS[verdict.winner] for verdict in self.verdicts
        )
        return None if one is None else _LABELS[one], None if other is None else _LABELS[-other]

    @property
    def label(self) -> str | None:
        """What both orders say together, a flip being a tie; what was asked in one order alone counts as it is."""
        if None in self.verdicts:
            return next((name for name in self.labels if name is not None), None)
        return label(self.panel, tie_margin=0.0)

    @property
    def behaviour(self) -> Counts:
        return behaviour_counts(self.panel, self.a, self.b, tie_margin=0.0)

    @property
    def answers(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict is not None]

    @property
    def usable(self) -> int:
        return sum(verdict.valid for verdict in self.answers)

    @property
    def panel(self) -> PairVerdict:
        """The verdicts as the judge card reads them; an order that was not asked is unusable."""
        one, other = (verdict or UNUSABLE for verdict in self.verdicts)
        return PairVerdict((one,), (other,))

    @property
    def is_right(self) -> bool:
        """Whether the better response is named more often than the worse (JudgeBench, utils/metrics.py)."""
        worse = {"a": "b", "b": "a"}[self.truth]
        return self.labels.count(self.truth) > self.labels.count(worse)


def measured(pairs: Sequence[LabelledPair], confidence: float) -> dict[str, Any]:
    """All that is said about one set of pairs; None where nothing can be said.

    Returns:
        {"rows", "pairs", "right", "accuracy", "kappa", "orders": [one, other], "swap_agreement", "prefers_first",
        "prefers_longer", "unusable", "longest", "first", "best_of_n"}. `right` is a share of all pairs; of `accuracy`
        and `kappa` pairs without a usable label are left out, and a tie is half right. `orders`: the accuracy with a
        shown first, and with b. `longest` and `first`: the accuracy of always naming the longer response, and a.
    """
    judged, shown = [pair for pair in pairs if not pair.is_scored], [pair for pair in pairs if pair.is_shown]
    return {
        "rows": len({pair.row for pair in pairs}),
        "pairs": len(pairs),
        "right": _share(pairs, lambda pair: (pair.is_right, 1), confidence),
        **_agreement(pairs, lambda pair: pair.label, confidence),
        "orders": [_agreement(judged, lambda pair, n=n: pair.labels[n], confidence)["accuracy"] for n in (0, 1)],
        "swap_agreement": _share(judged, lambda pair: pair.behaviour["agreement_rate"], confidence),
        "prefers_first": _share(judged, lambda pair: pair.behaviour["prefers_first"], confidence),
        "prefers_longer": _share(pairs, lambda pair: pair.behaviour["prefers_longer"], confidence),
        "unusable": _share(pairs, lambda pair: (len(pair.answers) - pair.usable, len(pair.answers)), confidence),
        "longest": _agreement(pairs, lambda pair: longest(pair.a, pair.b), confidence)["accuracy"],
        "first": _agreement(shown, lambda pair: "a", confidence)["accuracy"],
        "best_of_n": best_of_n(pairs, confidence),
    }


def _share(
    pairs: Sequence[LabelledPair], counts: Callable[[LabelledPair], tuple[float, float]], confidence: float
) -> Interval:
    parts, wholes = zip(*map(counts, pairs), strict=True) if pairs else ((), ())
    return share_interval(parts, wholes, [pair.root for pair in pairs], confidence)


def _agreement(
    pairs: Sequence[LabelledPair], label_of: Callable[[LabelledPair], str | None], confidence: float
) -> dict[str, Any]:
    labelled = [(name, pair) for pair in pairs if (name := label_of(pair)) is not None]
    if not labelled:
        return {"accuracy": None, "kappa": None}
    truth, roots = [pair.truth for _, pair in labelled], [pair.root for _, pair in labelled]
    return accuracy_and_kappa([name for name, _ in labelled], truth, roots, confidence)


def best_of_n(pairs: Sequence[LabelledPair], confidence: float) -> Interval:
    """Share of rows in which every better response comes before every worse one; k ties at the top count 1 / (1 + k).

    As RewardBench 2 counts rows with one right response (arXiv:2506.01937, section 4). None where each row is one
    pair, or holds one answer in several styles.
    """
    rows: dict[str, list[LabelledPair]] = {}
    for pair in pairs:
        if pair.styles is None:
            rows.setdefault(pair.row, []).append(pair)
    if all(len(row) == 1 for row in rows.values()):
        return None
    roots = [row[0].root for row in rows.values()]
    return share_interval([_best(row) for row in rows.values()], [1.0] * len(rows), roots, confidence)


def _best(row: Sequence[LabelledPair]) -> float:
    ties = sum(pair.label == "tie" for pair in row)
    return 1 / (1 + ties) if all(pair.label in (pair.truth, "tie") for pair in row) else 0.0


def style_accuracy(pairs: Sequence[LabelledPair]) -> dict[str, Any] | None:
    """RM-Bench's accuracies: of the better response in style i against the worse in style j, styles in rising fancy.

    Hard is i < j, normal i = j, easy i > j (arXiv:2410.16184, section 3.3); a tie is wrong. Subsets that differ behind
    a hyphen alone are one domain (safety-refuse, safety-response), and the mean is over domains.

    Returns:
        {"domains": {name: {"matrix": (styles, styles), "easy", "normal", "hard", "mean"}}, "mean": {"easy", …}}, of
        domains with a pair in every cell; None without any.
    """
    domains: dict[str, list[LabelledPair]] = {}
    for pair in pairs:
        if pair.styles is not None:
            domains.setdefault(pair.subset.partition("-")[0], []).append(pair)
    by_domain = {name: levels for name, own in domains.items() if (levels := _levels(own))}
    if not by_domain:
        return None
    names = ("easy", "normal", "hard", "mean")
    mean = {name: float(np.mean([levels[name] for levels in by_domain.values()])) for name in names}
    return {"domains": by_domain, "mean": mean}


def _levels(pairs: Sequence[LabelledPair]) -> dict[str, Any] | None:
    size = 1 + max(max(pair.styles) for pair in pairs)
    right, counts = np.zeros((size, size)), np.zeros((size, size))
    for pair in pairs:
        right[pair.styles] += pair.is_right
        counts[pair.styles] += 1
    if not counts.all():
        return None
    matrix = right / counts
    above, below = np.triu_indices(size, 1), np.tril_indices(size, -1)
    easy, normal, hard = (float(cells.mean()) for cells in (matrix[below], matrix.diagonal(), matrix[above]))
    return {"matrix": matrix.tolist(), "easy": easy, "normal": normal, "hard": hard,
            "mean": float(np.mean([easy, normal, hard]))}  # fmt: skip
