"""The judge card in plain words: what metrics/judge.json and metrics/compare.json say about those who judged.

Text only, and nothing heavy is imported: the report and the flow's own page both show it.
"""

from collections.abc import Mapping
from typing import Any

from tasks.reporting.shown import ABSENT, Table, with_interval

Interval = Mapping[str, float | None] | None
Card = Mapping[str, Any]

HASH = 16  # hexadecimal digits shown
PANEL = "all together"
REFERENCES = {"oracle": "hearth's oracle", "reward_model": "the gold reward model", "judge": "the gold judge"}
BEHAVIOUR = {  # of judge.json, in the table's order
    "swap_flip_rate": "names the other after a swap",
    "tie_rate": "ties",
    "invalid_rate": "unusable answers",
    "prefers_first": "names the first shown",
    "prefers_longer": "names the longer",
}
ASKED = {  # of compare.json; what is zero is left out
    "pairs": "pairs judged",
    "verdicts": "verdicts on them, one for each judge and order",
    "flipped_pairs": "pairs that train nothing: another winner after a swap",
    "tied_pairs": "pairs that train nothing: ties",
    "invalid_pairs": "pairs that train nothing: no usable answer",
    "train": "comparisons to train on",
    "heldout": "comparisons held out",
    "given": "comparisons given by people",
    "duplicates": "duplicate answers dropped",
    "filtered_near_identical": "pairs left out: nearly the same text",
    "filtered_length_ratio": "pairs left out: lengths too different",
    "filtered_rating_gap": "pairs left out: rated too alike",
    "unasked_pairs": "pairs that the budget left unasked",
    "unasked_prompts": "prompts that the budget left unasked",
    "failed_questions": "questions that a judge's server could not answer: unusable answers",
    "calls": "calls across a network",
    "input_tokens": "tokens sent",
    "output_tokens": "tokens received",
    "cost": "cost, in the currency of the judges' prices",
}
OF_A_JUDGE = {  # of compare.json, after the judge's name: what became of the rows that people wrote
    "used": "rows that people wrote and that count",
    "repeated": "rows repeated",
    "corrected": "rows corrected by a later one of the same person",
    "contradictory": "rows unusable: the same person says otherwise, and no row says which was last",
    "unknown_times": "rows unusable: the same person says otherwise, and a time cannot be read: write 2026-01-31 10:00",
    "not_submitted": "rows unusable: skipped, or a draft",
    "broken_lines": "rows unusable: broken line",
    "missing_columns": "rows unusable: a column is missing",
    "unknown_verdicts": "rows unusable: unknown verdict",
    "without_texts": "rows unusable: neither texts nor the policy's hash",
    "other_texts": "rows unusable: other texts than the samples have now",
    "other_policies": "rows unusable: ids of another policy's samples",
    "unknown_ids": "rows unusable: unknown ids",
    "same_texts": "rows unusable: the two texts are the same",
}
UNUSABLE = "rows unusable: "


def warnings(card: Card) -> list[str]:
    """What a reader must know before believing any number that rests on gold."""
    same = card.get("same_as_reference") or []
    if not same:
        return []
    names = " and ".join(repr(name) for name in same)
    return [
        f"Gold is not independent: judge {names} labelled the training comparisons and is gold as well "
        "(gold.allow_same_judge). What agrees with gold here was trained to."
    ]


def sentences(card: Card) -> list[str]:
    """The card as a reader with one minute needs it; the first sentence says what was judged."""
    if not card["pairs"]:
        return ["No pair was judged: the comparisons were given."]
    outcomes, panel = card["outcomes"], card["panel"]
    lines = [
        f"{_names(card)} judged {card['pairs']:,} pairs in both orders: {outcomes['kept']:,} have a winner, "
        f"{outcomes['tie']:,} are ties, {outcomes['flip']:,} flips (another winner after a swap), "
        f"{outcomes['invalid']:,} lack a usable answer.",
        f"Shown in the other order, {percent(panel['swap_flip_rate'])} of the pairs get the other winner. Single "
        f"answers name the response shown first in {percent(panel['prefers_first'])} and the longer one in "
        f"{percent(panel['prefers_longer'])}; {percent(panel['invalid_rate'])} of them are unusable.",
    ]
    if mirrored := card.get("mirrored"):
        lines.append(f"What {' and '.join(mirrored)} said of one order holds for the other, mirrored: it never flips, "
                     "and names the first half the time, by construction; that tells nothing of a love of positions.")
    lines += imported_sentences(card.get("imported", {})) + _agreement_sentences(card) + _people_sentences(card)
    for key, who in (("agreement_between_judges", "The judges"), ("agreement_between_annotators", "The people")):
        if card[key]:
            alpha = number(card[key])
            lines.append(f"{who} agree with each other at Krippendorff's α = {alpha} (1 is always, 0 chance).")
    return lines


def _names(card: Card) -> str:
    names = list(card["judges"])
    several = f"{len(names)} judges ({', '.join(names)}), taken together by {card['panel_method']},"
    return f"Judge {names[0]}" if len(names) == 1 else several


def _agreement_sentences(card: Card) -> list[str]:
    agreement = card["panel"]["agreement_with_reference"]
    everywhere, kept = agreement["all"], agreement["kept"]
    if not everywhere["accuracy"]:
        return []
    longest = everywhere["pick_longest"]["accuracy"]
    lines = [
        f"Where {reference_name(card)} prefers one response, the label agrees in {percent(everywhere['accuracy'])} of "
        f"all pairs (κ = {number(everywhere['kappa'])}) and in {percent(kept['accuracy'])} of those kept for training "
        f"(κ = {number(kept['kappa'])}). Always picking the longer response would agree in {percent(longest)}, "
        f"always the one shown first in {percent(everywhere['pick_first']['accuracy'])}. A tie is half right."
    ]
    low = everywhere["accuracy"]["ci_low"]
    if longest and (low is None or low <= longest["value"]):
        lines.append("The judges are not clearly better than picking the longer response: do not believe these labels.")
    return lines


def imported_sentences(imported: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What became of the rows that people wrote: one sentence for each file of verdicts, none where all count."""
    lines = []
    for name, counts in imported.items():
        rows = sum(counts.values())
        unusable = {label: counts.get(key, 0) for key, label in OF_A_JUDGE.items() if label.startswith(UNUSABLE)}
        reasons = [f"{count:,} {label.removeprefix(UNUSABLE)}" for label, count in unusable.items() if count]
        if reasons:
            lines.append(f"Of {rows:,} rows that people wrote for {name}, {counts['used']:,} count; "
                         f"{sum(unusable.values()):,} are unusable ({'; '.join(reasons)}).")
    return lines


def _people_sentences(card: Card) -> list[str]:
    return [
        f"Where people prefer one response, {name} agrees with them in {percent(agreement['accuracy'])} of the pairs "
        f"that they judged (κ = {number(agreement['kappa'])}); always picking the longer response would in "
        f"{percent(agreement['pick_longest']['accuracy'])}."
        for name, agreement in card["agreement_with_people"].items()
        if agreement and agreement["accuracy"]
    ]


def reference_name(card: Card) -> str:
    return REFERENCES.get(card["reference"], str(card["reference"]))


def tables(card: Card, compare: Mapping[str, float]) -> dict[str, Table]:
    """Those that have rows, by their titles."""
    every = {
        "What they did": behaviour_table(card),
        "Agreement": agreement_table(card),
        "By criterion": criteria_table(card),
        "Told": templates_table(card),
        "Asked": asked_table(compare),
    }
    return {title: table for title, table in every.items() if table[1]}


def behaviour_table(card: Card) -> Table:
    """One row for each judge, and for all together; of pairs and of single answers, with intervals."""
    rows = [[name, *(percent(entry[key]) for key in BEHAVIOUR)] for name, entry in _entries(card).items()]
    return ["judge", *BEHAVIOUR.values()], rows


def agreement_table(card: Card) -> Table:
    """Accuracy and kappa against the reference on all and on kept pairs, baselines below the judges."""
    agreements = {name: entry["agreement_with_reference"] for name, entry in _entries(card).items()}
    labels = {name: group for name, group in agreements.items() if group["all"]["accuracy"]}
    if labels:
        panel = card["panel"]["agreement_with_reference"]
        for key in ("pick_longest", "pick_first"):
            labels[key.replace("_", " the ")] = {pairs: panel[pairs][key] for pairs in ("all", "kept")}
    rows = [
        [name, *(text for pairs in ("all", "kept") for text in _accuracy_and_kappa(group[pairs]))]
        for name, group in labels.items()
    ]
    return ["labels by", "right, all pairs", "κ, all", "right, kept pairs", "κ, kept"], rows


def _accuracy_and_kappa(agreement: Mapping[str, Interval]) -> tuple[str, str]:
    return percent(agreement["accuracy"]), number(agreement["kappa"])


def criteria_table(card: Card) -> Table:
    """What is said of each criterion against the reference's own; no rows where nothing is said."""
    judged = {name: agreement for name, agreement in card["by_criterion"].items() if agreement["accuracy"]}
    return ["criterion", "right", "κ"], [[name, *_accuracy_and_kappa(agreement)] for name, agreement in judged.items()]


def templates_table(card: Card) -> Table:
    """What judges that are language models are told, by hash; gold's own last. No rows without any."""
    told = [(one["judge"], one) for one in card["templates"]]
    if gold := card["reference_template"]:
        told.append((f"{gold['judge']} (gold)", gold))
    rows = [[name, one["template"], (one["file_sha256"] or ABSENT)[:HASH], one["sha256"][:HASH]] for name, one in told]
    return ["judge", "template", "sha256 of its file", "sha256 of all that it is told"], rows


def asked_table(compare: Mapping[str, float]) -> Table:
    """What was asked, left out and paid; unusable rows of people among it."""
    shown = [(label, compare[key]) for key, label in ASKED.items() if compare.get(key)]
    for key, value in compare.items():
        for suffix, label in OF_A_JUDGE.items():
            judge = key.removesuffix(f"_{suffix}")
            if judge != key and value:
                shown.append((f"{judge}: {label}", value))
    return ["measure", "count"], [[label, _count(value)] for label, value in shown]


def agreement_intervals(card: Card) -> dict[str, tuple[float, float, float]]:
    """Accuracy on all pairs, (value, low, high), by judge and baseline; empty without a reference, or
    where its pairs have one root."""
    panel = card["panel"]["agreement_with_reference"]
    labels = {name: entry["agreement_with_reference"]["all"]["accuracy"] for name, entry in _entries(card).items()}
    labels[f"{PANEL}, kept pairs"] = panel["kept"]["accuracy"]
    labels["pick the longest"] = panel["all"]["pick_longest"]["accuracy"]
    bounded = {name: one for name, one in labels.items() if one and one["ci_low"] is not None}
    return {name: (one["value"], one["ci_low"], one["ci_high"]) for name, one in bounded.items()}


def _entries(card: Card) -> dict[str, Any]:
    return {PANEL: card["panel"], **card["judges"]} if len(card["judges"]) > 1 else dict(card["judges"])


def as_markdown(card: Card, compare: Mapping[str, float]) -> str:
    """The whole card, for the Prefect page."""
    lines = [*(f"**{line}**" for line in warnings(card)), *(f"- {line}" for line in sentences(card)), ""]
    for title, (head, rows) in tables(card, compare).items():
        lines += [f"### {title}", "", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)), ""]
    return "\n".join(lines) + "\n"


def percent(interval: Interval) -> str:
    """81.2% [79.0%, 83.1%], without an interval where there is none; a dash where there is no value."""
    return _with_interval(interval, "{:.1%}")


def number(interval: Interval) -> str:
    return _with_interval(interval, "{:.2f}")


def _with_interval(interval: Interval, form: str) -> str:
    if not interval:
        return ABSENT
    text = with_interval(form, interval["value"], interval["ci_low"], interval["ci_high"])
    value = form.format(interval["value"])
    return value if text == f"{value} [{value}, {value}]" else text


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
