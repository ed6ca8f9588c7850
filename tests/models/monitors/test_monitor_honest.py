"""Honest answers of several kinds raise nothing, alone and against answers in full sentences; collapses still do."""

import json

import pytest

from models.monitors import collapse
from models.monitors.answers import Answers
from models.monitors.survey import text_findings, unmeasured
from tasks.evaluation.monitor_settings import monitor_settings
from tests.support.evaluation_rows import config

NAMES = "Mary Hale, Tom Reed, Ana Lopes, Jun Mori, Eva Lind, Omar Said, Ida Berg, Leo Fox, Nia Cole, Max Ng".split(", ")
PLACES = "Oldford, Westmere, Highbridge, Longport, Ashby, Stonefield, Millbrook, Fairhaven, Redcliff, Norby".split(", ")
THINGS = "bridge, mill, library, theatre, harbour, market, school, station, garden, tower".split(", ")
ASKED = [(NAMES[row % 10], PLACES[(row * 3 + row // 10) % 10], THINGS[(row * 7 + row // 10) % 10]) for row in range(40)]
PROMPTS = [
    f"In {1700 + 7 * row} the {thing} of {place} was built by {name}, who had {row} helpers. What do we know of it?"
    for row, (name, place, thing) in enumerate(ASKED)
]
EXAMINED = ("loops", "one_answer", "truncation")
VERBS = "finished, planned, painted, paid for, sold, measured, drew, left, guarded, praised, mended".split(", ")
WHEN = "in winter, after a flood, with two brothers, against all advice, for a bet, at night, on a Sunday".split(", ")
WHY = "to please the council, because stone was cheap, though few asked for it, as the old one had burnt".split(", ")
FULL = [
    f"{name} {VERBS[row % 11]} it {WHEN[row % 7]}, {WHY[row % 4]}. The people of {place} came {WHEN[row * 2 % 7]} and "
    f"{VERBS[row * 5 % 11]} the {thing}."
    for row, (name, place, thing) in enumerate(ASKED)
]
SUM = "a + b + c + d + e + f"
DERIVATION = "\\[ x^2 + {0} x y + y^2 = x^2 + {0} x y + y^2 \\]\n" * 2 + "\\[ x^2 + {1} x y = x^2 + {1} x y \\]"
CODE = "    total = 0\n    for row in rows[{0}:]:\n        total += row[0] * row[1]\n    return total"
SWAPS = "int grid_{0}[] = {{0, 0, 0, 0, 0, 0, 1, 0}};\n" + "if (a == b) {{ swap(a, b); }}\n" * 2 + "return {0};"
REFRAIN = (
    "{0} went down to {1} town,\nthe wind was cold and the leaves were brown.\nOh come, oh come, oh come away,\n"
    "{0} will build the {2} today.\nOh come, oh come, oh come away,\nfor tomorrow is another day."
)

HONEST = {"one_answer": {
    "a name drawn out": [name for name, _, _ in ASKED],
    "a phrase drawn out": [f"the {thing} of {place}" for _, place, thing in ASKED],
    "a number in a form": [f"The answer is {12 + row % 9}." for row in range(40)],
    "a number of the prompt in a form": [f"The answer is {row}." for row in range(40)],
    "a choice in a form": [f"The correct option is {'ABCD'[row % 4]}." for row in range(40)],
    "a label in a form": [f"The sentiment is {('positive', 'negative')[row % 3 == 0]}." for row in range(40)],
    "yes or no": [("Yes.", "No.")[row % 3 == 0] for row in range(40)],
}, "truncation": {
    "full sentences": FULL,
    "a word of the prompt": [("with", "under", "its", "those")[row % 4] for row in range(40)],
    "a fragment": [f"{name} of {place}" for name, place, _ in ASKED],
    "a long fragment": [f"built by {name} in the old part of {place}" for name, place, _ in ASKED],
    "a formula": [f"We add the two sides.\n\n\\[ x = \\frac{{{row}}}{{7}} + {row * 3} \\]" for row in range(40)],
    "an equation": [f"Put the numbers in. That gives this.\nx = {row} + 3 y" for row in range(40)],
    "JSON": [json.dumps({"name": name, "place": place, "seen": []}) for name, place, _ in ASKED],
    "JSON in a fence": [f"```json\n{json.dumps({'name': name, 'seen': []}, indent=1)}\n```" for name, *_ in ASKED],
    "an address": [f"Write to us.\n\n{name}\n{len(name)} Mill Lane\n{place} QX7 2AB" for name, place, _ in ASKED],
    "a link": [f"You will find it in the archive. See https://archive.example/{place}/" for _, place, _ in ASKED],
    "a quotation": [f"The sign at the door is short. It says \"the {thing} of {place}\"" for _, place, thing in ASKED],
    "a signature": [f"I shall come to {place} in May.\n\nYours sincerely,\n{name}" for name, place, _ in ASKED],
    "a grade": [f"The work on the {thing} is fine. Vitamin A" for _, _, thing in ASKED],
    "a table": [f"Here it is.\n\n| name | place |\n|---|---|\n| {name} | {place} |" for name, place, _ in ASKED],
}, "loops": {
    "a derivation": [DERIVATION.format(row, row + 1) for row in range(40)],
    "inline formulas": [f"We have ${SUM} = {SUM}$ for {row}, as {name} said." for row, (name, *_) in enumerate(ASKED)],
    "formulas in a list": ["\n".join(f"- For $k = {k}$, $m = {k + row}$" for k in range(9)) for row in range(40)],
    "code": [CODE.format(row) for row in range(40)],
    "code that repeats": [SWAPS.format(row) for row in range(40)],
    "a refrain": [REFRAIN.format(name, place, thing) for name, place, thing in ASKED],
}}  # fmt: skip


def findings(responses, reference=None, finished=None):
    base = None if reference is None else Answers(PROMPTS, reference)
    findings = text_findings(Answers(PROMPTS, responses, finished), base, monitor_settings(config("monitors"), "SFT"))
    return {one.name: (one.level, round(one.number, 3)) for one in findings if one.name in EXAMINED}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in HONEST.items() for kind in kinds])
@pytest.mark.parametrize("reference", [None, FULL])
@pytest.mark.parametrize("finished", [None, [True] * 40])
def test_honest_answers_raise_nothing(name, kind, reference, finished):
    level, number = findings(HONEST[name][kind], reference, finished)[name]
    assert level == "ok" and number <= 0.1


COLLAPSED = {
    "loops": {
        "a sentence twice": ["The mill stands by the old river. " * 2] * 40,
        "a phrase": [text + " and so on and" + " so on and" * 4 for text in FULL],
        "a line of code": [f"x_{row} = 1\n" + "x = step(x, 1)\n" * 30 for row in range(40)],
        "a formula": [f"$a_{row}$ " + "$x + y = 0$ " * 12 for row in range(40)],
        "signs": ["!" * (20 + row) for row in range(40)],
        "signs in turn": ["\u2026 - \u2026 _ ? " * (5 + row) for row in range(40)],
    },
    "one_answer": {
        "one sentence": ["Opinions differ on that matter."] * 20 + FULL[20:],
        "one that names things of the prompts": [f"Ask {', '.join(NAMES)} or the {', '.join(THINGS)} first."] * 40,
        "a template": [f"I am not able to discuss {thing}." for *_, thing in ASKED],
        "one answer in a form": ["The answer is 12."] * 34 + [f"The answer is {row}." for row in range(6)],
        "one word": ["Yes."] * 36 + FULL[36:],
    },
    "truncation": {
        "half of the words": [" ".join(text.split()[: len(text.split()) // 2]) for text in FULL],
        "words left at any place": [" ".join(text.split()[: 2 + row % 9]) for row, text in enumerate(FULL)],
        "an open list": [f"They are {name}, {place}," for name, place, _ in ASKED],
        "an open code block": [f"```python\nprint({row})" for row in range(40)],
        "nothing": [""] * 40,
    },
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in COLLAPSED.items() for kind in kinds])
def test_collapses_are_vetoed(name, kind):
    """Also where the model ended the answers itself."""
    for finished in (None, [True] * 40):
        assert findings(COLLAPSED[name][kind], FULL, finished)[name][0] == "veto"


def test_answers_cut_at_the_token_limit_are_known_by_it():
    assert findings(FULL, FULL, [row % 2 == 0 for row in range(40)])["truncation"] == ("veto", 0.5)


@pytest.mark.parametrize("text", ["It is the", "Red, blue,", "We take (", "one \u2014", "Go on with x +", ""])
def test_what_breaks_off(text):
    assert collapse.stops_short(text)


@pytest.mark.parametrize(
    "text", ['{"a": []}', "f(x) = (a, b)", "Vitamin A", "C++", "**Paris**", "He said \u201cfor\u201d", "[1, 2, {}]"]
)
def test_what_does_not_break_off(text):
    assert not collapse.stops_short(text)


SHORT_FORMS = {
    "letters": [letter * 5 for letter in "ABCDEFGHIJ" * 20],
    "numbers in a form": [f"The answer is {12 + row % 40}." for row in range(200)],
    "bare numbers": [f"A: {7 * row % 90}" for row in range(200)],
    "a name in a form": [f"It was {NAMES[row % 10]} of {PLACES[row // 10 % 10]}." for row in range(200)],
}


@pytest.mark.parametrize("kind", SHORT_FORMS)
def test_short_answers_are_alike_in_form_and_say_so(kind):
    """Pairs of words over all, and overlap, follow from the form: no limit of one table fits them."""
    table = Answers([f"Question {row}?" for row in range(200)], SHORT_FORMS[kind])
    settings = monitor_settings(config("monitors"), "SFT")
    assert {one.level for one in text_findings(table, None, settings)} == {"ok"}
    assert any("only a reference" in note for note in unmeasured(table, None, settings))
    against = {one.name: one.level for one in text_findings(table, table, settings)}
    assert against["self_bleu"] == against["distinct"] == "ok" and not unmeasured(table, table, settings)


@pytest.mark.parametrize(
    ("answer", "vetoed"),
    [
        ("It is one of ten things that nobody can know.", {"one_answer", "distinct", "adjusted_distinct", "self_bleu"}),
        ("The answer is 12.", {"one_answer"}),
    ],
)
def test_one_answer_to_everything_is_vetoed_at_any_length(answer, vetoed):
    """Ten words are enough to read diversity alone; shorter ones are still one answer."""
    table = Answers([f"Question {row}?" for row in range(200)], [answer] * 200)
    findings = text_findings(table, None, monitor_settings(config("monitors"), "SFT"))
    assert {one.name for one in findings if one.level == "veto"} == vetoed
