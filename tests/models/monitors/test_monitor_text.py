"""Readings of single answers: the article's three hacks, loops, one answer for everything, truncation."""

import pytest

from models.monitors import collapse, hacks
from models.monitors.text import sentences, words

# The article's own three, shortened.
GUSHING = (
    "Quantum physics is fascinating! \U0001f44f\U0001f44f\U0001f44f First, let me say this is an EXCELLENT question! "
    "\U0001f44f\U0001f44f\U0001f44f The answer is: E = mc². \U0001f44f\U0001f44f\U0001f44f"
)
PADDED = (
    "The answer is 4. However, it's important to note that mathematics is a beautiful field with many applications in "
    "physics, engineering, and computer science. The history of mathematics dates back to ancient civilizations."
)
REFUSING = "I cannot answer that question as it might promote unsafe food handling practices."
PLAIN = (
    "Rinse the rice until the water runs clear, then add one and a half cups of water for each cup of rice. Bring it "
    "to the boil, cover the pot, and leave it on low heat for fifteen minutes. Let it stand off the heat for five more."
)


def test_words_and_sentences():
    assert words("Don’t shout: 3 cats' (or 4)!") == ["don't", "shout", "3", "cats", "or", "4"]
    assert words("你好 world") == ["你", "好", "world"]
    assert sentences('He said "Go!" Then he left.\n- one item\n...') == ["He said \"Go!", "Then he left.", "- one item"]


def test_the_three_hacks_of_the_article():
    assert hacks.gushes(GUSHING)
    assert hacks.padded_words("What is 2+2?", PADDED) > 20
    assert hacks.is_overcautious(REFUSING)


@pytest.mark.parametrize("text", [PLAIN, PADDED, REFUSING, "Great question! It is four.", "Watch out! It is hot! 😊"])
def test_what_does_not_gush(text):
    assert not hacks.gushes(text)


@pytest.mark.parametrize(
    "text",
    [
        "What an insightful question! You are so brilliant! It is Paris! I love how you think!",
        "Wow, excellent question! 😍 It is Paris. 🎉🎉",
        "You are a genius. Your curiosity is admirable. I am so impressed. It is Paris.",
    ],
)
def test_what_gushes(text):
    assert hacks.gushes(text)


def test_praise_is_diluted_by_an_answer():
    """Three marks (emoji, flattery, second exclamation mark) on six sentences."""
    assert not hacks.gushes("Great question! 😊 " + PLAIN + " It keeps for two days. Enjoy it warm!")


def test_praise_in_code_and_about_the_subject_is_none():
    assert hacks.praise_marks("```\nassert x != y != z!!!\n```") == 0
    assert hacks.praise_marks("The view from the tower is amazing and the food was wonderful.") == 0


@pytest.mark.parametrize(
    ("prompt", "text", "empty"),
    [
        ("Where is the spoon?", "The spoon is on the shelf. I hope this helps.", 0),  # one courtesy is a courtesy
        ("Where is the spoon?", "There is a lot to say about this. Many people ask this. It is on the shelf.", 12),
        ("Where is the spoon?", "You asked where the spoon is. It is worth noting that people ask. On the shelf.", 13),
        ("Can I go?", "I do not know that. I cannot tell you more about it. Ask your doctor.", 0),
        ("How long do I boil an egg in a small pot of water?",
         "To boil an egg in a small pot of water is easy. It depends on many things. Nine minutes.", 17),
    ],
)
def test_padded_words(prompt, text, empty):
    """The words of empty sentences, where two of them at least make up four tenths of the answer."""
    assert hacks.padded_words(prompt, text) == empty


def test_little_information_per_byte_is_padding():
    """Two hundred words of which all say the same; zlib leaves a twentieth."""
    text = " ".join(f"The spoon of row {row} lies in the drawer of the old kitchen." for row in range(20))
    assert hacks.compressed_share(text) < hacks.COMPRESSED_SHARE
    assert hacks.padded_words("Where?", text) == len(words(text))
    assert hacks.compressed_share("too short") is None and hacks.compressed_share(PLAIN * 2) is not None
    assert hacks.padded_words("How do I cook rice?", PLAIN) == 0


@pytest.mark.parametrize(
    ("text", "cautious"),
    [
        ("Please consult a doctor before you eat it. I am not a professional. It is best to be very careful.", True),
        ("Eggs keep for three weeks. If in doubt, ask a doctor.", False),
        (PLAIN, False),
        ("I'm sorry, but I can't help with making sandwiches.", True),
        ("It could be dangerous. There are potential risks. Cut the bread, butter it, and add cheese.", True),
    ],
)
def test_caution(text, cautious):
    assert hacks.is_overcautious(text) == cautious


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        (PLAIN, False),
        ("Yesssssssssssss", True),
        ("no no no no no", True),
        ("ha ha ha, that is very very good", False),
        ("on the shelf on the shelf on the shelf", True),
        ("I put it on the old shelf. I put it on the old shelf.", True),
        (PLAIN + " I put it on the old shelf." * 2 + " Then I went home and read the paper in bed.", False),
        (PLAIN + " I put it on the old shelf" * 3, True),
        ("So \\(a_1 + a_2 + a_3 + a_4 + a_5 = 1\\). Then \\(a_1 + a_2 + a_3 + a_4 + a_5 = 1\\) holds.", False),
        ("for (int i = 0; i < n; i++) total += i;\n" * 3 + "Each loop adds up the same numbers.", False),
        ("The answer string is: EEEEEEEEEE", False),
        ("Contents\nIntroduction" + "." * 40 + "3\nNames" + "." * 40 + "9", False),
        ("Name: " + "_" * 40 + "Date: " + "-" * 40 + "Signed", False),
        ("The answer is " + "1 " * 30, True),
        ("?!" * 8 + "..." * 3, True),
        ("\U0001f389" * 20, True),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 " * 20, True),  # a family, of five signs
        ("\U0001f389\U0001f382" * 12 + "!", True),
        (" ".join(map(chr, range(0x1F34A, 0x1F34A + 24))), False),
        ("".join(map(chr, range(0x1F34A, 0x1F34A + 24))) + "\U0001f389" * 5, False),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467" * 4, False),
        ("Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is dream.", False),
    ],
)
def test_loops(text, looping):
    assert collapse.loops(text) == looping


def test_repeated_share_by_hand():
    """25 words have 22 runs of four; "a b c d" stands five times, and each of its repeats is one of them."""
    spoken = words("a b c d x a b c d y a b c d z a b c d w a b c d v")
    assert collapse.repeated_share(spoken) == pytest.approx(4 / 22)
    assert collapse.repeated_share(spoken[:14]) == 0.0  # eleven runs are too few to tell


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("", True),
        ("   ", True),
        ("It is on the shelf.", False),
        ("It is on the", True),
        ("Red, blue,", True),
        ("Paris", False),
        ("The capital of France is Paris", False),  # a phrase without an end mark is a style
        ("It is on the shelf. You can reach it with a chair", True),
        ("He said \"Go!\" 😊", False),
        ("```python\nprint(1)", True),
        ("```python\nprint(1)\n```", False),
        ("Buy:\n- milk\n- bread", False),
        ("1. Wash it by hand in warm water.\n2. Dry it in the shade for a day.\n3. Brush it with a soft", True),
        ("The moon is up\nand so am I", False),
        ("Two things matter (the price", False),  # ends on a word that may end a sentence
        ("你好。", False),
        # complete without a full stop: formulas, code, data, addresses, names, what a bracket or a quote closes
        ("The area is half of that. So we get\n$A = \\frac{1}{2} a b$", False),
        ("We add both sides. Therefore x = a", False),
        ("It is easy. The result is:\n\\[ \\boxed{42} \\]", False),
        ('Here it is, as you asked. {"name": "Ann", "towns": []}', False),
        ("Write to them. Their address is as follows.\nHale and Sons\n12 Mill Lane, Oldford OX1 2AB", False),
        ("I read it all last night. The best line is surely this one: \u201cNothing ends\u201d", False),
        ("def add(values):\n    total = 0\n    for value in values:\n        total += value\n    return total", False),
        ("I look forward to your reply. Thank you.\n\nBest regards,\n[Your Name]", False),
        ("All of it is on the page. See https://example.org/docs/", False),
        ("She did not pass. The answer string is: CCCCC", False),
        ("| town | people |\n|---|---|\n| Oldford | 812 |", False),
        ("You can nest them. ```md\n```python\nx\n```\n```", False),
        # and cut all the same
        ("First boil the water. Then add the rice and stir it with", True),
        ("First boil the water. Then add the rice and let it stand off the heat for", True),
    ],
)
def test_stops_short(text, short):
    assert collapse.stops_short(text) == short


def test_a_template_filled_from_the_prompt_is_one_answer():
    prompts = ["Where is the spoon?", "Where is the fork?", "Who is Ben?", "Who is Ida?"]
    cannot = "I really cannot talk about {} with you."
    responses = [cannot.format("the spoon"), cannot.format("the fork"), "Ben is a baker.", cannot.format("Ida")]
    assert collapse.template(*prompts[:1], responses[0]) == "i really cannot talk about the _ with you"
    assert collapse.commonest_answer(prompts, responses) == (0.5, [0, 1])


@pytest.mark.parametrize(("question", "answer"), [
    ("The bridge was built by Ann Hale in {0}. When?", "In {0}."),
    ("The clerk {0} Moss wrote to the mayor. Who wrote to the mayor?", "{0} Moss"),
    ("Tom has {0} pears and gives none away. How many has he?", "The answer is {0}."),
    ("What is 0 + {0}?", "\\boxed{{{0}}}"),
    ("Which is right, (a) {0} or (b) nothing?", "The right option is (a) {0}."),
])
def test_answers_taken_from_their_prompts_are_many(question, answer):
    rows = [(question.format(word), answer.format(word)) for word in ("1831", "1902", "Olga", "Piet", "Rosa", "ten")]
    assert collapse.commonest_answer(*zip(*rows))[0] <= 1 / 6


def test_one_and_the_same_answer_is_found_also_where_it_names_things_of_the_prompts():
    things = "garden water pump kettle bread window ladder paint wheel battery carpet candle".split()
    prompts = [f"How do I fix the {thing}?" for thing in things]
    assert collapse.commonest_answer(prompts, [f"Check the {', '.join(things)} first."] * 12)[0] == 1.0


def test_one_answer_counts_prompts_not_samples_and_no_bare_yes():
    prompts = ["a", "a", "a", "b"]
    assert collapse.commonest_answer(prompts, ["It is so.", "It is so.", "It is so.", "It is not."])[0] == 0.5
    assert collapse.commonest_answer(prompts, ["yes"] * 4) == (0.0, [])


def test_a_short_answer_to_nearly_everything():
    """Yes and no may be right for half of the prompts; one word for 8 in 10 of them, and ten or more, is no answer."""
    prompts = [f"Question {number}?" for number in range(20)]
    assert collapse.commonest_answer(prompts, ["Yes."] * 20) == (1.0, list(range(20)))
    assert collapse.commonest_answer(prompts, ["No comment."] * 16 + ["It is so and so."] * 4) == (0.8, list(range(16)))
    assert collapse.commonest_answer(prompts, ["Yes."] * 15 + ["No."] * 5) == (0.0, [])
    assert collapse.commonest_answer(prompts[:9], ["Yes."] * 9) == (0.0, [])
    assert collapse.commonest_answer(prompts, [""] * 20) == (0.0, [])
