"""Judge cards and metrics of compare, made by hand."""

from __future__ import annotations

from models.judges.base import Verdict
from models.judges.card import CardPair, judge_card
from models.judges.panel import PairVerdict
from tests.support.evaluation_rows import prompt


def card(right=10, same=(), reference="oracle", people=False, judges=1):
    """40 pairs of the longer against the shorter; of each ten gold prefers the longer in 8, the judge is right in
    `right`. Where it is always right, 0.025^(1/40) = 91.2% is the least that it can be (Clopper and Pearson)."""
    pairs = []
    for i in range(40):
        truth = float(i % 10 < 8)
        p = truth if i % 10 < right else 1 - truth
        verdict = PairVerdict((Verdict(p),) * judges, (Verdict(1 - p),) * judges)
        votes = {"ann": 1.0, "bob": 1.0 if i % 10 else 0.0} if people else {}
        criteria = {"honesty": p}, {"honesty": truth}
        pairs.append(CardPair(prompt(i)["root"], "one two three", "one", verdict, i % 10 != 0, truth, *criteria, votes))
    names = [f"j{place}" for place in range(judges)]
    outcomes = {"kept": 36, "tie": 4, "flip": 0, "invalid": 0}
    measured = judge_card(pairs, names, 0.05, 0.95)
    fixed = {"reference": reference, "same_as_reference": list(same), "panel_method": "mean", "outcomes": outcomes,
             "templates": [], "reference_template": None}
    return {**fixed, **measured}


NOBODY = {"reference": None, "same_as_reference": [], "panel_method": "mean", "templates": [],
          "reference_template": None,
          "outcomes": {"kept": 0, "tie": 0, "flip": 0, "invalid": 0}, **judge_card([], [], 0.05)}
COMPARE = {"pairs": 10.0, "tied_pairs": 1.0, "verdicts": 20.0, "train": 7.0, "heldout": 0.0, "given": 0.0, "cost": 0.125,
           "calls": 20.0, "filtered_near_identical": 3.0, "people_used": 5.0, "people_unknown_ids": 2.0,
           "people_missing_columns": 0.0, "swap_flip_rate": 0.5}
