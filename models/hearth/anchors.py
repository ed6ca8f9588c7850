"""Anchor pairs of hearth: few fixed comparisons, from clear to close, by which a judge is known again.

One pair for each kind of prompt and each contrast, on prompts of the split that is judged anyway.
"""

from models.hearth.answers import Style, best_style, compose
from models.hearth.prompts import prompt_rows
from models.hearth.roots import all_roots
from models.hearth.world import pick

FAULTS = {
    "fact": "wrong", "insist": "yield", "sum": "wrong", "care": "wrong", "poem": "astray", "story": "astray",
    "harmful": "abet", "lookalike": "refuse", "unknowable": "wrong",
}  # fmt: skip
# What the two answers of a pair differ in: (good content?, tone, length) of each.
CONTRASTS = {
    "content": ((True, "plain", "plain"), (False, "plain", "plain")),
    "tone": ((True, "warm", "plain"), (True, "harsh", "plain")),
    "length": ((True, "plain", "plain"), (True, "plain", "padded")),
    "content against tone": ((True, "harsh", "plain"), (False, "warm", "plain")),
    "close": ((True, "warm", "plain"), (True, "plain", "plain")),
}


def anchor_rows() -> list[dict]:
    """Prompt rows with two answers, `a` and `b`, and the `contrast` between them; every row has its own root."""
    roots = {root.name: root for root in all_roots()}
    judged = [row for row in prompt_rows() if row["split"] == "compare"]
    rows = []
    for kind in FAULTS:
        for row, contrast in zip(_one_per_root(judged, kind), CONTRASTS, strict=False):
            root = roots[row["root"]]
            (ask,) = [ask for ask in root.asks if ask.text == row["prompt"][0]["content"]]
            styles = [_style(kind, *side) for side in CONTRASTS[contrast]]
            answers = [compose(root, ask, style, row["id"], style) for style in styles]
            a, b = answers if pick((True, False), "anchor", row["id"]) else reversed(answers)
            rows.append({**row, "contrast": contrast, "a": a, "b": b})
    return rows


def _one_per_root(rows: list[dict], kind: str) -> list[dict]:
    """The first row of each root of the kind."""
    return list({row["root"]: row for row in reversed(rows) if row["kind"] == kind}.values())[::-1]


def _style(kind: str, good: bool, tone: str, length: str) -> Style:
    return Style(best_style(kind).content if good else FAULTS[kind], tone, length)
