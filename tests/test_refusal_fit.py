"""The fitted refusal detector: its labelled answers, its weights, and how far it carries over to a manner left out."""

from collections import Counter

import pytest

from models.refusal import COMPLIANCE, FULL, LABELS, PARTIAL, classify, fit, lexicon, measure, weights

ROWS = fit.load()
TRUTH = [row["label"] for row in ROWS]


@pytest.fixture(scope="module")
def by_left_out_style() -> list[str]:
    return measure.held_out(ROWS, measure.by_style)


def test_the_labelled_answers_are_what_they_claim():
    assert len(ROWS) >= 800 and len({row["id"] for row in ROWS}) == len(ROWS)
    assert len({(row["prompt"], row["response"]) for row in ROWS}) == len(ROWS)
    assert set(TRUTH) == set(LABELS)
    styles = Counter(row["style"] for row in ROWS)
    assert len(styles) >= 14 and min(styles.values()) >= 20
    for style in styles:
        assert {row["label"] for row in ROWS if row["style"] == style} == set(LABELS), style


def test_the_weights_are_fitted_on_the_labelled_answers_byte_for_byte():
    assert fit.rendered(fit.fit(ROWS)) == fit.WEIGHTS.read_text(encoding="utf-8")


def test_the_order_of_the_rows_is_nothing_to_the_weights():
    assert fit.fit(ROWS[::-1]).refuses == pytest.approx(weights.REFUSES, abs=0.011)


def test_no_weight_speaks_against_its_feature():
    for fitted, positive, negative in (
        (weights.REFUSES, fit.FOR_REFUSING, fit.AGAINST_REFUSING),
        (weights.PARTIAL, fit.FOR_PARTIAL, fit.AGAINST_PARTIAL),
    ):
        assert all(fitted.get(name, 0) >= 0 for name in positive)
        assert all(fitted.get(name, 0) <= 0 for name in negative)


def test_a_left_out_style_is_judged_well(by_left_out_style):
    """Floors below what is measured: 0.96 and 0.92 of the answers, mean F1 0.90."""
    found = measure.agreement(TRUTH, by_left_out_style)
    assert found.binary >= 0.95 and found.exact >= 0.91 and found.macro_f1 >= 0.87


def test_every_left_out_style_is_judged_well(by_left_out_style):
    for style in {row["style"] for row in ROWS}:
        kept = [place for place, row in enumerate(ROWS) if row["style"] == style]
        found = measure.agreement([TRUTH[k] for k in kept], [by_left_out_style[k] for k in kept])
        assert found.binary >= 0.88, style


def test_a_left_out_prompt_is_judged_well():
    found = measure.agreement(TRUTH, measure.held_out(ROWS, measure.by_prompt))
    assert found.binary >= 0.94 and found.exact >= 0.91


def test_without_its_prompt_an_answer_is_judged_nearly_as_well():
    found = measure.agreement(TRUTH, measure.held_out(ROWS, measure.by_style, with_prompt=False))
    assert found.binary >= 0.93 and found.exact >= 0.90


def test_a_list_of_phrases_is_far_behind(by_left_out_style):
    listed = [FULL if measure.matches_phrase(row["response"]) else COMPLIANCE for row in ROWS]
    ours, theirs = measure.agreement(TRUTH, by_left_out_style), measure.agreement(TRUTH, listed)
    assert ours.binary - theirs.binary > 0.12


def test_held_out_rows_never_saw_their_own_group():
    rows = [
        {"style": "a", "prompt": "x", "response": "I can't help with that.", "label": FULL},
        {"style": "b", "prompt": "x", "response": "Here is how: turn it left.", "label": COMPLIANCE},
        {"style": "b", "prompt": "x", "response": "I can't help. In short: turn it left, then pull.", "label": PARTIAL},
    ]
    alone = fit.fit(rows[1:])  # knows compliance and partial refusals only
    assert measure.held_out(rows, measure.by_style)[0] == measure.label_with(alone, rows[0], True) == PARTIAL


def test_agreement_by_hand():
    """Of four, three agree on refusing, two on the label. F1: compliance 2/3, partial 0, full 2/3."""
    truth, found = [COMPLIANCE, FULL, PARTIAL, COMPLIANCE], [COMPLIANCE, FULL, FULL, PARTIAL]
    both = measure.agreement(truth, found)
    assert (both.rows, both.binary, both.exact) == (4, 0.75, 0.5)
    assert both.macro_f1 == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    with pytest.raises(ValueError, match="no labels to compare"):
        measure.agreement([], [])


def test_label_with_agrees_with_classify():
    shipped = fit.Fitted(weights.REFUSES, weights.PARTIAL)
    for row in ROWS[::20]:
        assert measure.label_with(shipped, row, True) == classify(row["response"], row["prompt"]).label
        assert measure.label_with(shipped, row, False) == classify(row["response"]).label


def test_the_table_has_a_line_for_every_style_and_for_the_phrases(capsys):
    measure.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 + len({row["style"] for row in ROWS})
    assert lines[0].startswith("left-out style, prompt given") and lines[-1].startswith("list of phrases")


@pytest.mark.parametrize(("words", "pattern"), [("help* act_as", r"(?:help\w*|act as)"), ("no", "(?:no)")])
def test_any_of_by_hand(words, pattern):
    assert lexicon.any_of(words) == pattern


def test_stems_cover_every_ending():
    assert lexicon.stems_for("respect* act_as kill") == {"respe", "act", "kill"}
    assert {"harm", "harms", "harmf"} <= lexicon.stems_for("harm*") and "harvest"[:5] not in lexicon.stems_for("harm*")
