"""Tables of battles as people have them: ours, the Arena's, AlpacaEval's; and bad rows, each with one clear line."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.ratings.battles import read_battles, response_text
from models.ratings.style import markdown_counts, relative_difference

# fmt: off
OURS = [
    {"prompt_id": "p1", "root": "r1", "first": "sft", "second": "ppo", "p_first": 0.25, "winner": "second"},
    {"prompt_id": "p2", "root": "r1", "first": "ppo", "second": "sft", "p_first": 1.0, "winner": "first"},
    {"prompt_id": "p3", "root": "r2", "first": "ppo", "second": "sft", "p_first": 0.5, "winner": "tie"},
    {"prompt_id": "p3", "root": "r2", "first": "sft", "second": "ppo", "p_first": 0.5, "winner": "invalid"},
]
# fmt: on


@pytest.mark.parametrize(
    "form",
    [
        list,
        pd.DataFrame,
        pa.Table.from_pylist,
        lambda rows: {key: [row[key] for row in rows] for key in rows[0]},
        lambda rows: pd.DataFrame(rows).astype(str).to_dict("records"),  # as from a CSV file
    ],
)
def test_our_battles_in_any_table(form):
    battles = read_battles(form(OURS))
    assert battles.models == ("ppo", "sft")
    assert battles.first.tolist() == [1, 0, 0] and battles.second.tolist() == [0, 1, 1]
    assert battles.p_first.tolist() == [0.25, 1.0, 0.5]
    assert battles.prompts == ("p1", "p2", "p3") and battles.prompt.tolist() == [0, 1, 2]
    assert battles.root.tolist() == [0, 0, 1] and battles.roots == 2
    assert battles.notes == ("1 of 4 battles are left out: winner 'invalid' (1)",)
    assert battles.opponents("sft") == ["ppo"]


def test_the_arena():
    """winner is model_a, model_b, tie or tie (bothbad); the prompt is what the user said first; a conversation's
    response is all that the model said."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "# Hello\n- a\n- b"}]
    more = [*turns, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "**So** it is"}]
    rows = [
        {"question_id": number, "model_a": "x", "model_b": "y", "winner": winner, "conversation_a": turns,
         "conversation_b": more}
        for number, winner in enumerate(["model_a", "model_b", "tie", "tie (bothbad)"])
    ]  # fmt: skip
    battles = read_battles(rows, markdown=True)
    assert battles.p_first.tolist() == [1, 0, 0.5, 0.5]
    assert battles.prompts == ("Hi",) and battles.notes == ()
    assert battles.lengths[0].tolist() == [15, 28]
    assert battles.markdown[0].tolist() == [[1, 2, 0], [1, 2, 1]]
    # As pandas reads it from Parquet: turns in numpy arrays.
    arrays = {"conversation_a": np.array(turns), "conversation_b": np.array(more)}
    again = read_battles(pd.DataFrame([{**row, **arrays} for row in rows]), markdown=True)
    assert again.prompts == battles.prompts and (again.markdown == battles.markdown).all()


def test_the_arena_with_counts_instead_of_texts():
    metadata = {
        "sum_assistant_a_tokens": 100, "sum_assistant_b_tokens": 50,
        "header_count_a": {"h1": 1, "h2": 2}, "header_count_b": {"h1": 0, "h2": 0},
        "list_count_a": {"ordered": 4, "unordered": 1}, "list_count_b": {"ordered": 0, "unordered": 2},
        "bold_count_a": {"**": 3, "__": 0}, "bold_count_b": {"**": 0, "__": 0},
    }  # fmt: skip
    row = {"question_id": 1, "model_a": "x", "model_b": "y", "winner": "model_a", "conv_metadata": metadata}
    battles = read_battles([row], markdown=True)
    assert battles.lengths.tolist() == [[100, 50]]
    assert battles.markdown.tolist() == [[[3, 5, 3], [0, 2, 0]]]


def test_the_arena_as_one_column_per_outcome():
    """Kaggle's form, in which responses are JSON lists; a row with no winner is left out."""
    rows = [
        {"id": n, "model_a": "x", "model_b": "y", "prompt": '["q"]',
         "response_a": '["one", null]', "response_b": '["#two"]',
         "winner_model_a": a, "winner_model_b": b, "winner_tie": t}
        for n, (a, b, t) in enumerate([(1, 0, 0), ("0", "1", "0"), (0, 0, 1), (0, 0, 0)])
    ]  # fmt: skip
    battles = read_battles(rows)
    assert battles.p_first.tolist() == [1, 0, 0.5] and battles.lengths[0].tolist() == [4, 4]
    assert "none or several of winner_model_a" in battles.notes[0]


def test_alpaca_eval():
    """preference goes from 1 (the first, the baseline) to 2; 0 is a tie."""
    rows = [
        {"instruction": "i", "generator_1": "base", "generator_2": "new", "output_1": "ab", "output_2": "abc",
         "preference": preference}
        for preference in (1, 2.0, 1.25, 0, 1.5)
    ]  # fmt: skip
    battles = read_battles(rows)
    assert battles.p_first.tolist() == [1, 0, 0.75, 0.5, 0.5] and battles.lengths[0].tolist() == [2, 3]
    with pytest.raises(ValueError, match="row 1 has preference 0.5; AlpacaEval's goes from 1 to 2"):
        read_battles([{**rows[0], "preference": 0.5}])


def test_a_winner_may_be_a_name():
    rows = [{"prompt_id": 1, "first": "x", "second": "y", "winner": winner} for winner in ("y", "X", "x", "FIRST")]
    battles = read_battles(rows)
    assert battles.p_first.tolist() == [0, 1, 1]
    assert battles.notes == ("1 of 4 battles are left out: winner 'X' (1)",)


def test_unknown_outcomes_are_left_out_and_counted():
    values = [None, "", "draw?", "draw?", float("nan"), "first", pd.NA]
    battles = read_battles([{"prompt_id": 1, "first": "a", "second": "b", "winner": value} for value in values])
    assert len(battles.first) == 1
    assert battles.notes == (
        "6 of 7 battles are left out: winner 'draw?' (2), winner None (1), winner '' (1), winner nan (1), 1 more",
    )
    scores = [float("nan"), None, 0.5]
    battles = read_battles([{"prompt_id": 1, "first": "a", "second": "b", "p_first": value} for value in scores])
    assert battles.notes == ("2 of 3 battles are left out: p_first is missing or nan (2)",)


def test_many_reasons_are_cut_short():
    rows = [{"prompt_id": 1, "first": "a", "second": "b", "winner": f"w{number}"} for number in range(6)]
    battles = read_battles([*rows, {**rows[0], "winner": "tie"}, {**rows[0], "second": "a"}])
    assert battles.notes[0].endswith("winner 'w3' (1), 3 more")


def test_without_prompts_every_battle_is_its_own():
    battles = read_battles([{"first": "a", "second": "b", "winner": "tie"}] * 3)
    assert battles.roots == 3 and "no column names the prompt" in battles.notes[0]


def test_a_row_without_its_prompt_is_its_own():
    rows = [{"prompt_id": value, "first": "a", "second": "b", "winner": "tie"} for value in ("p", None, None, "p")]
    assert read_battles(rows).prompt.tolist() == [0, 1, 2, 0]


def test_a_row_without_its_root_belongs_to_its_prompt():
    """Three orders of prompt p, whose root two rows leave out, and a prompt whose root nobody names."""
    battle = {"first": "a", "second": "b", "winner": "tie"}
    rows = [
        {**battle, "prompt_id": name, "root": root}
        for name, root in [("p", None), ("p", "r"), ("p", float("nan")), ("q", None), ("q", ""), ("s", "r")]
    ]
    assert read_battles(rows).root.tolist() == [0, 0, 0, 1, 1, 0]
    assert read_battles([{key: row[key] for key in row if key != "prompt_id"} for row in rows]).roots == 5


def test_every_row_says_its_outcome_in_its_own_column():
    """A table put together from two: five rows with a winner, one with p_first."""
    battle = {"prompt_id": 1, "first": "a", "second": "b"}
    rows = [*({**battle, "winner": name} for name in ("a", "b", "tie", "first", "b")), {**battle, "p_first": 0.25}]
    for form in (list, lambda rows: pd.DataFrame(rows)):
        battles = read_battles(form(rows))
        assert battles.p_first.tolist() == [1, 0, 0.5, 1, 0, 0.25] and battles.notes == ()


def test_a_side_that_may_be_a_player_is_left_out():
    """winner 'a' with players A and B: the side and the player may be two different ones."""
    rows = [{"prompt_id": 1, "first": "A", "second": "B", "winner": name} for name in ("a", "A", "b")]
    rows += [{"prompt_id": 1, "first": "B", "second": "A", "winner": name} for name in ("a", "A", "model_a")]
    battles = read_battles(rows)
    assert battles.p_first.tolist() == [1, 1, 0, 0, 1]
    assert "winner 'a', which is a side of the table and, in capitals, the other side's 'A' (1)" in battles.notes[0]


def test_blanks_around_a_name_are_no_other_model():
    rows = [{"prompt_id": 1, "first": "A", "second": name, "winner": "tie"} for name in ("B", " B ", "b")]
    battles = read_battles(rows)
    assert battles.models == ("A", "B", "b")
    assert battles.notes == ("these names differ in capitals alone and count as different models: 'B' and 'b'",)
    assert read_battles([{**rows[0], "winner": " B"}]).p_first.tolist() == [0]


def test_empty_responses_are_counted():
    battle = {"prompt_id": 1, "first": "a", "second": "b", "winner": "tie"}
    rows = [{**battle, "first_response": "", "second_response": "x"}]
    battles = read_battles(rows * 2)
    assert battles.lengths.tolist() == [[0, 1]] * 2 and battles.notes == ("2 of 4 responses are empty",)
    missing = read_battles([{**rows[0], "first_response": None}])
    assert np.isnan(missing.lengths[0, 0]) and missing.notes == ()


def test_lengths_may_be_given():
    rows = [{"prompt_id": 1, "first": "a", "second": "b", "winner": "tie", "first_length": "12", "second_length": 7}]
    assert read_battles(rows).lengths.tolist() == [[12, 7]]
    unknown = read_battles([{**rows[0], "first_length": "nan"}]).lengths[0]  # as a CSV file has it
    assert np.isnan(unknown[0]) and unknown[1] == 7


ROW = {"prompt_id": 1, "first": "a", "second": "b", "p_first": 1.0, "first_length": 1, "second_length": 1}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the table has columns none; battles need first and second"),
        ([{"first": "a", "second": "b"}], "columns first, second; battles need"),
        ([{"winner": "a"}], "battles need first and second, or model_a and model_b"),
        ([ROW, {**ROW, "second": None}], "row 2 has no second; name both players"),
        ([ROW, {**ROW, "p_first": 1.5}], "row 2 has p_first 1.5; it lies between 0 and 1"),
        ([{**ROW, "p_first": "much"}], "row 1 has p_first 'much'; it must be a number"),
        ([{**ROW, "first_length": -1}], "row 1 has first_length -1.0; it must be finite and at least 0"),
        ([ROW, {**ROW, "second": "  "}], "row 2 has no second"),
        ([{**ROW, "first_length": float("inf")}], "row 1 has first_length inf; it must be finite and at least 0"),
        ([{**ROW, "conv_metadata": {"sum_assistant_a_tokens": -3}}], "row 1 has sum_assistant_a_tokens -3.0"),
        ([{**ROW, "second": "a"}], "no battle has a known outcome: 1 of 1 battles are left out: a model against it"),
    ],
)
def test_refusals(rows, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_battles(rows)
    assert "\n" not in str(caught.value)


def test_nobody_met_the_model():
    with pytest.raises(ValueError, match="'c' has no battles; the table has a, b"):
        read_battles([ROW]).opponents("c")


def test_response_texts():
    assert response_text("[not JSON") == "[not JSON"
    assert response_text(json.dumps(["a", "b"])) == "a\nb"
    parts = [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "text", "text": "a"}, {}]}]
    assert response_text(parts) == "a\n"


def test_markdown_counts():
    text = "# One\n## Two\n#three\n- a\n  * b\n1. c\n10) d\n-e\n**bold** and __this__ and ** not **\n"
    assert markdown_counts(text) == (2, 4, 3)
    assert markdown_counts("```\n# code\n- code\n**code**\n```\n# Head\n```\n- never closed") == (1, 0, 0)


def test_relative_difference():
    difference = relative_difference(np.array([3.0, 0, 1, 0]), np.array([1.0, 0, 3, 5]))
    assert difference.tolist() == [0.5, 0, -0.5, -1]
