"""The judge card: what a judge's verdicts say about the judge. A pure function of judged pairs.

A label is what a pair's verdict says once both orders are in: the winner, or a tie where the judge flips or stays
within the tie margin. Rates have intervals by root, but for one root.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.judges.agreement import alpha_interval, confusion, kappa_interval, krippendorff_cells, share_interval
from models.judges.behaviour import RATES, behaviour_counts, outcome
from models.judges.panel import PairVerdict, decides, mean

LABELS = ("a", "b", "tie")
_MIRRORED = {"a": "b", "b": "a", "tie": "tie"}


@dataclass(frozen=True)
class CardPair:
    """One judged pair of responses.

    `reference`: gold's or people's preference for a: above 0.5 is a, below is b, 0.5 a tie; None where there is none.
    `criteria` and `reference_criteria`: the judges' and the reference's preference for a by criterion. `kept`: the pair
    became a comparison. `annotations`: person -> preference for a, where people judged.
    """

    root: str
    a: str
    b: str
    verdict: PairVerdict
    kept: bool
    reference: float | None = None
    criteria: Mapping[str, float] = field(default_factory=dict)
    reference_criteria: Mapping[str, float] = field(default_factory=dict)
    annotations: Mapping[str, float] = field(default_factory=dict)


def judge_card(
    pairs: Sequence[CardPair],
    names: Sequence[str],
    tie_margin: float,
    confidence: float = 0.95,
    people: Collection[str] = (),
) -> dict[str, Any]:
    """The card of a panel: of all its judges together, of each alone, and how far they agree.

    Args:
        names: the judges, in the order of each verdict's tuples.
        people: those among them that are people, whose verdicts the others are held against.

    Returns:
        {"pairs", "kept", "confidence", "panel", "judges": {name: …}, "agreement_between_judges",
        "agreement_between_annotators", "agreement_with_people": {name: …}, "agreement_with_reference", "by_criterion"};
        intervals are {"value", "ci_low", "ci_high", "n"}, and null where nothing can be said.
    """
    alone = {name: [_alone(pair, place) for pair in pairs] for place, name in enumerate(names)}
    return {
        "pairs": len(pairs),
        "kept": sum(pair.kept for pair in pairs),
        "confidence": confidence,
        "panel": _described(pairs, tie_margin, confidence),
        "judges": {name: _described(own, tie_margin, confidence) for name, own in alone.items()},
        "agreement_between_judges": _alpha(
            [
                {name: label(own[place].verdict, tie_margin) for name, own in alone.items()}
                for place in range(len(pairs))
            ],
            pairs,
            confidence,
        ),
        "agreement_between_annotators": _alpha(
            [{who: preferred(value) for who, value in pair.annotations.items()} for pair in pairs], pairs, confidence
        ),
        "agreement_with_people": {
            name: people_agreement(own, tie_margin, confidence) for name, own in alone.items() if name not in people
        },
        "by_criterion": criterion_agreement(pairs, confidence),
    }


def _described(pairs: Sequence[CardPair], tie_margin: float, confidence: float) -> dict[str, Any]:
    agreement = reference_agreement(pairs, tie_margin, confidence)
    return {**behaviour(pairs, tie_margin, confidence), "agreement_with_reference": agreement}


def _alone(pair: CardPair, place: int) -> CardPair:
    """The pair as one judge alone saw it."""
    verdict = pair.verdict.of(place)
    return CardPair(pair.root, pair.a, pair.b, verdict, pair.kept, pair.reference, annotations=pair.annotations)


def preferred(preference: float, margin: float = 0.0) -> str:
    """The label of a preference for a; within `margin` of 0.5 is a tie."""
    if not decides(preference, margin):
        return "tie"
    return "a" if preference > 0.5 else "b"


def label(verdict: PairVerdict, tie_margin: float) -> str | None:
    """The label of a pair; None without a valid verdict on both orders. A flip is a tie, not a win."""
    result = outcome(verdict, tie_margin)
    if result == "invalid":
        return None
    return preferred(verdict.p_a) if result == "kept" else "tie"


def behaviour(pairs: Sequence[CardPair], tie_margin: float, confidence: float) -> dict[str, Any]:
    """How many calls and valid pairs there are, and each rate of `models.judges.behaviour` with its interval."""
    counts = [behaviour_counts(pair.verdict, pair.a, pair.b, tie_margin) for pair in pairs]
    roots = [pair.root for pair in pairs]

    def rate(name: str) -> dict[str, float] | None:
        return share_interval([own[name][0] for own in counts], [own[name][1] for own in counts], roots, confidence)

    return {
        "calls": sum(own["invalid_rate"][1] for own in counts),
        "valid_pairs": sum(pair.verdict.valid for pair in pairs),
        **{name: rate(name) for name in RATES},
    }


def reference_agreement(pairs: Sequence[CardPair], tie_margin: float, confidence: float) -> dict[str, Any]:
    """Agreement with gold or people on all pairs and on kept pairs, beside two baselines that read nothing.

    Pairs that the reference ties are left out. Without a reference the values are null.
    """
    known = [pair for pair in pairs if pair.reference not in (None, 0.5)]
    judged = [(pair, label(pair.verdict, tie_margin)) for pair in known]
    labelled = [(pair, name) for pair, name in judged if name is not None]
    groups = {"all": labelled, "kept": [(pair, name) for pair, name in labelled if pair.kept]}
    agreement = {name: _agreement(group, confidence) for name, group in groups.items()}
    return {**agreement, "reference_ties": sum(pair.reference == 0.5 for pair in pairs)}


def people_agreement(pairs: Sequence[CardPair], tie_margin: float, confidence: float) -> dict[str, Any] | None:
    """As `reference_agreement` on all pairs, with what people said on average as the reference; None where nobody
    did."""
    annotated = [replace(pair, reference=mean(list(pair.annotations.values()))) for pair in pairs if pair.annotations]
    if not annotated:
        return None
    return reference_agreement(annotated, tie_margin, confidence)["all"]


def _agreement(judged: Sequence[tuple[CardPair, str]], confidence: float) -> dict[str, Any]:
    pairs, labels = [pair for pair, _ in judged], [name for _, name in judged]
    truth, roots = [preferred(pair.reference) for pair in pairs], [pair.root for pair in pairs]
    return {
        **accuracy_and_kappa(labels, truth, roots, confidence),
        "pick_longest": accuracy_and_kappa([longest(pair.a, pair.b) for pair in pairs], truth, roots, confidence),
        "pick_first": _pick_first(truth, pairs, confidence),
    }


def accuracy_and_kappa(
    labels: Sequence[str], truth: Sequence[str], roots: Sequence[str], confidence: float
) -> dict[str, Any]:
    """Accuracy, where a tie is half right, and Cohen's kappa, where a tie is a label of its own.

    Which response is called a is arbitrary, so for kappa each pair counts in both ways of naming them.
    """
    right = [0.5 if ours == "tie" else float(ours == theirs) for ours, theirs in zip(labels, truth, strict=True)]
    mirrored = confusion([_MIRRORED[one] for one in labels], [_MIRRORED[one] for one in truth], LABELS)
    accuracy = share_interval(right, [1.0] * len(right), roots, confidence)
    kappa = kappa_interval(confusion(labels, truth, LABELS) + mirrored, roots, confidence)
    return {"accuracy": accuracy, "kappa": kappa}


def longest(a: str, b: str) -> str:
    """The label of whichever has more words."""
    more = len(a.split()) - len(b.split())
    return preferred(0.5 + 0.5 * ((more > 0) - (more < 0)))


def _pick_first(truth: Sequence[str], pairs: Sequence[CardPair], confidence: float) -> dict[str, Any]:
    """Over the calls that were made: with both orders asked it is right exactly half the time."""
    firsts = [["a"] * len(pair.verdict.a_first) + ["b"] * len(pair.verdict.a_second) for pair in pairs]
    labels = [name for own in firsts for name in own]
    repeated = [name for name, own in zip(truth, firsts, strict=True) for _ in own]
    roots = [pair.root for pair, own in zip(pairs, firsts, strict=True) for _ in own]
    return accuracy_and_kappa(labels, repeated, roots, confidence)


def criterion_agreement(pairs: Sequence[CardPair], confidence: float) -> dict[str, Any]:
    """Accuracy and kappa per criterion that both the judges and the reference speak of."""
    names = sorted({name for pair in pairs for name in pair.criteria if name in pair.reference_criteria})
    agreement = {}
    for name in names:
        both = [
            (preferred(pair.criteria[name]), preferred(pair.reference_criteria[name]), pair.root)
            for pair in pairs
            if name in pair.criteria and pair.reference_criteria.get(name, 0.5) != 0.5
        ]
        labels, truth, roots = zip(*both, strict=True) if both else ((), (), ())
        agreement[name] = accuracy_and_kappa(labels, truth, roots, confidence)
    return agreement


def _alpha(
    units: Sequence[Mapping[str, str | None]], pairs: Sequence[CardPair], confidence: float
) -> dict[str, float] | None:
    """Krippendorff's alpha over pairs with at least two labels, each pair in both ways of naming its responses."""
    labelled = [{who: name for who, name in unit.items() if name is not None} for unit in units]
    used = [(unit, pair.root) for unit, pair in zip(labelled, pairs, strict=True) if len(unit) >= 2]
    if not used:
        return None
    straight = krippendorff_cells([unit for unit, _ in used], LABELS)
    mirrored = krippendorff_cells([{who: _MIRRORED[name] for who, name in unit.items()} for unit, _ in used], LABELS)
    both = np.asarray(straight + mirrored)
    return alpha_interval(both, [root for _, root in used], confidence)
