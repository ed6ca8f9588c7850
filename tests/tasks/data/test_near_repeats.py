"""Near-repeats of evaluation prompts: worked by hand, against a slow loop over all pairs, and fast enough."""

import random
import time

import pytest

from tasks.config.data import NearRepeatsConfig
from tasks.data.fields import root_of
from tasks.data.near_repeats import NearRepeats, Repeat, shingles_of, words_of

CFG = NearRepeatsConfig(words=3, resemblance=0.8, containment=0.9, contained_words=8)


def cfg(**changes) -> NearRepeatsConfig:
    return CFG.model_copy(update=changes)


def test_words_ignore_case_punctuation_and_ways_to_write_a_letter():
    assert words_of("Can I wash my teddy-bear?!") == ["can", "i", "wash", "my", "teddy", "bear"]
    assert words_of("CAFE\u0301 \uff21") == words_of("caf\u00e9 a")
    assert words_of("猫が好き") == ["猫", "が", "好", "き"]


@pytest.mark.parametrize("one, other", [
    ("What is 3 + 4?", "What is 3 * 4?"), ("What is 7 - 2?", "What is 72?"), ("Round 1.5", "Round 15"),
    ("Explain C#", "Explain C++"), ("Explain C", "Explain C#"), ("Costs it $5?", "Costs it 5%?"),
    ("कल क्या है?", "काल क्या है?"), ("Is a < b?", "Is a > b?"), ("Add 1, 2", "Add 12"),
])
def test_what_questions_differ_by_is_no_punctuation(one, other):
    prompts = [[{"role": "user", "content": text}] for text in (one, other)]
    assert words_of(one) != words_of(other) and root_of(prompts[0]) != root_of(prompts[1])


def test_shingles_do_not_cross_turns_and_short_turns_are_one():
    assert shingles_of(["a b c d", "e f"], 3) == {("a", "b", "c"), ("b", "c", "d"), ("e", "f")}
    assert shingles_of(["", "?!"], 3) == frozenset()


def test_resemblance_by_hand():
    """Eight words against the same with one more: 6 shingles in common, 7 in all: 6/7 = 0.857."""
    near = NearRepeats(cfg(contained_words=100), {"gate": ["one two three four five six seven eight"]})
    longer = "One, two, three, four, five, six, seven, eight. Nine!"
    assert near.find([longer]) == [Repeat("gate", "resemblance", 6 / 7)]
    # Two more words: 6/8 = 0.75, below 0.8.
    assert near.find([longer + " ten"]) == []


def test_a_share_of_exactly_the_threshold_counts():
    """4 of 5 shingles in common, resemblance 4/5 = 0.8; in floating point 0.8 * 5 and 0.7 * 10 are not whole."""
    near = NearRepeats(cfg(contained_words=100), {"p": ["a b c d e f"]})
    assert near.find(["a b c d e f g"])[0].share == 4 / 5
    near = NearRepeats(cfg(words=1, resemblance=0.7), {"p": ["a b c d e f g"]})
    assert near.find(["a b c d e f g h i j"])[0].share == 0.7


def test_containment_by_hand():
    """A prompt of eight words inside a long text: all 6 shingles are there, of 18 in all, so it does not resemble."""
    prompt = "one two three four five six seven eight"
    text = f"Pretend that you are my grandmother and tell me: {prompt}? Thank you a lot"
    assert NearRepeats(CFG, {"p": [prompt]}).find([text]) == [Repeat("p", "containment", 1.0)]
    assert NearRepeats(cfg(contained_words=9), {"p": [prompt]}).find([text]) == []
    # The other way round nothing leaks: a row that is a part of the prompt.
    assert NearRepeats(CFG, {"p": [text]}).find([prompt]) == []


def test_the_nearest_comes_first():
    near = NearRepeats(cfg(words=1, resemblance=0.5), {"far": ["a b c x"], "same": ["a b c d"], "b-same": ["d c b a"]})
    assert [repeat.name for repeat in near.find(["A B C D"])] == ["b-same", "same", "far"]


@pytest.mark.parametrize("seed", range(5))
def test_the_index_finds_what_a_loop_over_all_pairs_finds(seed):
    """The index looks at a part of the shingles only; nothing may slip through it."""
    draw = random.Random(seed)
    settings = cfg(
        words=draw.choice([1, 2, 3]),
        resemblance=draw.choice([0.3, 0.5, 0.8, 1.0]),
        containment=draw.choice([0.5, 0.9, 1.0]),
        contained_words=draw.choice([1, 5]),
    )

    def text() -> list[str]:
        return [" ".join(draw.choice("abcdefg") for _ in range(draw.randint(0, 9))) for _ in range(draw.randint(1, 2))]

    prompts = {f"p{i}": text() for i in range(60)}
    near, repeats = NearRepeats(settings, prompts), 0
    for _ in range(300):
        row = text()
        expected = {name for name, prompt in prompts.items() if slowly(row, prompt, settings)}
        assert {repeat.name for repeat in near.find(row)} == expected
        repeats += len(expected)
    assert repeats > 20


def slowly(row: list[str], prompt: list[str], settings: NearRepeatsConfig) -> bool:
    """The definition, without an index."""
    a, b = shingles_of(row, settings.words), shingles_of(prompt, settings.words)
    if not a & b:
        return False
    long_enough = sum(len(turn.split()) for turn in prompt) >= settings.contained_words
    return len(a & b) / len(a | b) >= settings.resemblance or (
        long_enough and len(a & b) / len(b) >= settings.containment
    )


def test_ten_thousand_rows_against_a_thousand_prompts_take_seconds():
    """All pairs are ten million comparisons; the slow loop above would take minutes."""
    draw = random.Random(0)
    words = [f"w{i}" for i in range(2000)]

    def text() -> str:
        return "please tell me about " + " ".join(draw.choices(words, weights=range(2000, 0, -1), k=20))

    prompts = {f"p{i}": [text()] for i in range(1000)}
    rows = [text() for _ in range(9_990)] + [prompts[f"p{i}"][0] + " now" for i in range(10)]
    started = time.process_time()
    near = NearRepeats(CFG, prompts)
    hits = [repeats[0].name for row in rows if (repeats := near.find([row]))]
    assert hits == [f"p{i}" for i in range(10)]
    assert time.process_time() - started < 10
