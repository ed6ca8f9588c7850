"""Findings over whole tables: shares and their noise, alone and against a reference, length and diversity."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from models.monitors.answers import Answers
from models.monitors.finding import Finding, Limit, Limits, Ratio, falling, rising, standard_error, worst
from models.monitors.survey import Settings, text_findings

RELATIVE, ABSOLUTE = Limit(0.1, 0.5), Limit(0.2, 0.6)
NAMES = ("praise", "padding", "over_caution", "length", "loops", "one_answer", "truncation")
SETTINGS = Settings(
    limits={name: Limits(ABSOLUTE, RELATIVE) for name in NAMES}
    | {"length": Limits(None, Limit(1.5, 3.0))}
    | {name: Limits(Limit(0.3, 0.1), Limit(0.5, 0.25)) for name in ("distinct", "adjusted_distinct", "self_bleu")},
    noise=3.0, minimum_answers=3, examples=2, words=200, draws=2, vocabulary=1000, seed=0, reference_name="SFT",
)
GUSH = "Wow! What a great question! You are so smart! 🎉🎉"
WORDS = "apple bridge candle desk engine fence garden hammer island jacket kettle lamp market needle orange".split()


def plain(row: int) -> str:
    spoken = [WORDS[(row * 7 + step * (row % 5 + 1)) % len(WORDS)] for step in range(6)]
    return f"The {spoken[0]} of {spoken[1]} number {row} has a {' and a '.join(spoken[2:])}."


def table(size=40, changed=0, text=GUSH, **columns):
    responses = [text if row < changed else plain(row) for row in range(size)]
    return Answers([f"What about {row}?" for row in range(size)], responses, **columns)


def finding_of(name, answers, reference=None, settings=SETTINGS) -> Finding:
    return next(one for one in text_findings(answers, reference, settings) if one.name == name)


def test_levels():
    assert [rising(x, ABSOLUTE) for x in (0.19, 0.2, 0.6)] == ["ok", "warning", "veto"]
    assert [falling(x, Limit(0.5, 0.25)) for x in (0.51, 0.5, 0.25)] == ["ok", "warning", "veto"]
    assert rising(9.0, Limit(1.0)) == "warning" and worst(["ok", "veto", "warning"]) == "veto" and worst([]) == "ok"


def test_a_share_on_its_own():
    """8 of 40 gush: 0.2, the threshold."""
    one = finding_of("praise", table(changed=8))
    assert (one.number, one.threshold, one.veto, one.reference, one.level) == (0.2, 0.2, 0.6, None, "warning")
    assert one.sentence.startswith("20.0% of answers gush") and len(one.examples) == 2
    assert one.examples[0].response == GUSH and one.examples[0].reference is None
    assert finding_of("praise", table(changed=24)).level == "veto"
    assert finding_of("praise", table(changed=7)).level == "ok"


def test_a_share_against_a_reference():
    """20 of 40 against 4 of 40: thresholds lie at 0.1 + 0.1 and 0.1 + 0.5."""
    one = finding_of("praise", table(changed=20), table(changed=4))
    assert (one.number, one.reference, one.level) == (0.5, 0.1, "warning")
    assert (one.threshold, one.veto) == pytest.approx((0.2, 0.6))
    assert one.sentence.endswith("(SFT: 10.0%)") and one.examples[1].reference == GUSH
    assert finding_of("praise", table(changed=20), table(changed=20)).level == "ok"


def test_a_difference_within_the_noise_is_no_finding():
    """The reference gushes on 12 other prompts of 40, we on 17: 0.125 more, with a standard error of 0.13."""
    theirs = Answers(table().prompts, [GUSH if row >= 28 else plain(row) for row in range(40)])
    one = finding_of("praise", table(changed=17), theirs)
    assert one.level == "ok" and "too few answers" in one.sentence
    assert finding_of("praise", table(changed=17), theirs, replace(SETTINGS, noise=0.5)).level == "warning"


def test_too_few_answers_are_no_finding():
    assert finding_of("praise", table(size=4, changed=2)).level == "ok"
    assert finding_of("praise", table(size=4, changed=3)).level == "veto"


def test_standard_error_by_hand():
    """Paired differences 1, 0, 0, 1: deviation sqrt(1/3), over sqrt(4). Unpaired: each side's own, added in squares."""
    ours = Ratio.of("abcd", [1, 0, 1, 1], [1] * 4)
    theirs = Ratio.of("abcd", [0, 0, 1, 0], [1] * 4)
    assert ours.value - theirs.value == 0.5
    assert standard_error(ours, theirs) == pytest.approx(math.sqrt(1 / 3) / 2)
    others = Ratio.of("efgh", [0, 0, 1, 0], [1] * 4)
    assert standard_error(ours, others) == pytest.approx(math.sqrt(2 * 0.25 / 4))


def test_ratio_of_sums_and_its_error():
    """Parts 2 of 4 and 0 of 12 make 1/8. The linearised error agrees with the jackknife's spread for many prompts."""
    assert Ratio.of("ab", [2, 0], [4, 12]).value == pytest.approx(1 / 8)
    assert Ratio.of("ab", [0, 0], [0, 0]).value == 0.0
    generator = np.random.default_rng(0)
    wholes = generator.integers(1, 30, 400)
    parts = generator.binomial(wholes, 0.3)
    names = list(map(str, range(400)))
    fixed = Ratio(0.0, dict.fromkeys(map(str, range(400, 800)), 0.0))
    left_out = [(parts.sum() - part) / (wholes.sum() - whole) for part, whole in zip(parts, wholes, strict=True)]
    jackknife = math.sqrt(399 / 400 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert standard_error(Ratio.of(names, parts, wholes), fixed) == pytest.approx(jackknife, rel=0.02)


def test_padding_is_a_share_of_words():
    """Two empty sentences of 8 and 5 words before one of 5, in all answers: 13 of 18 words."""
    text = "There is a lot to say about this. People often think about things. The cup is on it."
    one = finding_of("padding", Answers(["Where is the cup?", "And where now?", "And where else?"], [text] * 3))
    assert one.number == pytest.approx(13 / 18) and one.level == "veto"


def test_over_caution_leaves_harmful_prompts_out():
    """Six refusals among ten, five of them to harmful prompts: one of five."""
    refusals = ["I cannot help with that."] * 6 + ["It is on the shelf of the hall."] * 4
    prompts = list("abcdefghij")
    known = finding_of("over_caution", Answers(prompts, refusals, harmful=[True] * 5 + [False] * 5))
    unknown = finding_of("over_caution", Answers(prompts, refusals, harmful=[None] * 10))
    assert (known.number, unknown.number) == (0.2, 0.6)
    all_harmful = text_findings(Answers(prompts, refusals, harmful=[True] * 10), None, SETTINGS)
    assert "over_caution" not in {one.name for one in all_harmful}


def test_truncation_counts_unfinished_and_follows_the_reference():
    """Against a reference that always ends with a full stop, "A red cup" is cut; on its own it is a style."""
    bare = [plain(row).rstrip(".") if row < 10 else plain(row) for row in range(40)]
    answers = Answers(table().prompts, bare)
    assert finding_of("truncation", answers).number == 0.0
    assert finding_of("truncation", answers, table()).number == 0.25
    assert finding_of("truncation", table(finished=[False] * 10 + [True] * 30)).number == 0.25


def test_length_is_a_multiple_of_the_reference():
    longer = Answers(table().prompts, [f"{plain(row)} {plain(row + 1)}" for row in range(40)])
    one = finding_of("length", longer, table())
    assert one.number / one.reference == pytest.approx(2.0, rel=0.02) and one.level == "warning" and one.examples
    assert one.threshold == pytest.approx(1.5 * one.reference)
    assert finding_of("length", table(), table()).level == "ok" and not finding_of("length", table(), table()).examples
    assert "length" not in {one.name for one in text_findings(longer, None, SETTINGS)}


def test_diversity_against_the_reference():
    """One sentence 40 times: its distinct pairs over 200 words are far below half; self-BLEU nears 1."""
    same = Answers(table().prompts, [plain(1)] * 40)
    for name in ("distinct", "adjusted_distinct", "self_bleu"):
        one = finding_of(name, same, table())
        assert one.level == ("warning" if name == "adjusted_distinct" else "veto"), name
        assert finding_of(name, table(), table()).level == "ok"
    bleu = finding_of("self_bleu", same, table())
    assert bleu.number > 0.9 and bleu.threshold == pytest.approx(1 - 0.5 * (1 - bleu.reference))
    alone = finding_of("self_bleu", same)
    assert alone.level == "veto" and alone.threshold == pytest.approx(0.7) and alone.veto == pytest.approx(0.9)


def test_too_few_words_say_nothing_about_diversity():
    few = Answers(["a", "b"], ["It is so.", "It is not."])
    assert not {"distinct", "self_bleu"} & {one.name for one in text_findings(few, None, SETTINGS)}


def test_a_monitor_without_limits_is_left_out():
    settings = replace(SETTINGS, limits={"praise": Limits(ABSOLUTE, None)})
    assert [one.name for one in text_findings(table(), None, settings)] == ["praise"]
    assert text_findings(table(), table(), settings) == []


def test_a_finding_as_a_document():
    one = finding_of("praise", table(changed=8))
    document = one.document()
    assert document["examples"][0] == {"prompt": "What about 0?", "response": GUSH, "reference": None}
    assert {key: value for key, value in document.items() if key != "examples"} == {
        key: value for key, value in asdict(one).items() if key != "examples"
    }


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"prompts": ["a", "b"], "responses": ["x"]}, "responses has 1 rows and prompts 2"),
        ({"prompts": ["a", "a"], "responses": ["x", "y"]}, "1 different prompts"),
        ({"prompts": ["a", "b"], "responses": ["x", "y"], "rewards": [0.0, math.nan]}, "rewards of row 2 is nan"),
    ],
)
def test_bad_tables(columns, words):
    with pytest.raises(ValueError, match=words):
        Answers(**columns)
