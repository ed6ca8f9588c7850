"""The judge card in words: what the report and the Prefect page say, by hand-made cards."""

import json

from flows.alignment import results
from flows.costs.calls import Calls
from tasks.report import judge_section
from tasks.reporting import judge_card as words
from tests.support.judge_cards import COMPARE, NOBODY, card


def test_the_sentences_say_what_was_judged_and_how_well():
    first, behaviour, agreement = words.sentences(card())
    assert first == ("Judge j0 judged 40 pairs in both orders: 36 have a winner, 4 are ties, 0 flips (another winner "
                     "after a swap), 0 lack a usable answer.")
    assert "order, 0.0% [0.0%, 8.8%] of the pairs get the other winner" in behaviour
    assert "the longer one in 80.0% [" in behaviour
    label = "the label agrees in 100.0% [91.2%, 100.0%] of all pairs (κ = 1.00 [0.82, 1.00])"
    assert f"Where hearth's oracle prefers one response, {label}" in agreement
    assert "picking the longer response would agree in 80.0% [" in agreement


def test_a_judge_that_is_no_better_than_length_is_called_so():
    assert "do not believe these labels" in words.sentences(card(right=8))[-1]
    assert not any("do not believe" in line for line in words.sentences(card()))


def test_pairs_of_one_root_have_no_interval_and_are_not_believed():
    found = card(judges=2)
    accuracy = found["panel"]["agreement_with_reference"]["all"]["accuracy"]
    accuracy |= {"ci_low": None, "ci_high": None}
    lines = words.sentences(found)
    assert "agrees in 100.0% of all pairs" in lines[2] and "do not believe" in lines[3]
    intervals = words.agreement_intervals(found)
    assert "all together" not in intervals and {"j0", "pick the longest"} <= set(intervals)


def test_flips_of_judges_that_are_asked_once_are_said_to_mean_nothing():
    (line,) = [line for line in words.sentences({**card(), "mirrored": ["people"]}) if "by construction" in line]
    assert line.startswith("What people said of one order holds for the other")
    assert not any("by construction" in line for line in words.sentences(card()))


def test_panels_and_people_have_their_agreement():
    lines = words.sentences(card(people=True, judges=3))
    assert lines[0].startswith("3 judges (j0, j1, j2), taken together by mean, judged 40")
    assert lines[-2].startswith("The judges agree with each other at Krippendorff's α = 1.00 [0.82, 1.00] (1 is")
    assert lines[-1].startswith("The people agree with each other at Krippendorff's α = 0.")
    agrees = [line for line in lines if "with them in 77.8% [" in line]
    assert [line.split()[5] for line in agrees] == ["j0", "j1", "j2"], "bob and ann differ on 4 pairs; 28 of 36"


def test_tables_have_a_row_for_each_judge_and_the_baselines():
    head, rows = words.behaviour_table(card(judges=2))
    assert [row[0] for row in rows] == ["all together", "j0", "j1"] and len(head) == len(rows[0]) == 6
    _, rows = words.agreement_table(card(judges=2))
    assert [row[0] for row in rows] == ["all together", "j0", "j1", "pick the longest", "pick the first"]
    assert rows[0][1].startswith("100.0%") and rows[3][1].startswith("80.0%") and rows[4][1].startswith("50.0%")
    assert words.criteria_table(card())[1] == [["honesty", "100.0% [91.2%, 100.0%]", "1.00 [0.82, 1.00]"]]
    assert [row[0] for row in words.behaviour_table(card())[1]] == ["j0"], "one judge is no panel"


def test_what_judges_are_told_is_listed_by_hash():
    told = {"judge": "j0", "template": "built-in", "file_sha256": None, "sha256": "a" * 64}
    gold = {"judge": "g", "template": "judges/strict.yaml", "file_sha256": "b" * 64, "sha256": "c" * 64}
    found = {**card(), "templates": [told], "reference_template": gold}
    head, rows = words.templates_table(found)
    assert rows == [["j0", "built-in", "–", "a" * 16], ["g (gold)", "judges/strict.yaml", "b" * 16, "c" * 16]]
    assert len(head) == 4 and words.templates_table(card())[1] == []
    captions = [caption for caption, _, _ in judge_section(found, COMPARE)["tables"]]
    assert "What judges that are language models are told" in captions
    assert "| g (gold) | judges/strict.yaml | bbbbbbbbbbbbbbbb |" in words.as_markdown(found, COMPARE)


def test_what_was_asked_left_out_and_could_not_be_used_is_listed():
    rows = dict(map(tuple, words.asked_table(COMPARE)[1]))
    assert rows["pairs judged"] == "10" and rows["pairs that train nothing: ties"] == "1"
    assert rows["pairs left out: nearly the same text"] == "3"
    assert rows["cost, in the currency of the judges' prices"] == "0.125"
    assert rows["people: rows that people wrote and that count"] == "5"
    assert rows["people: rows unusable: unknown ids"] == "2" and not any("column" in name for name in rows)
    assert not {"comparisons given by people", "comparisons held out"} & set(rows)


def test_the_same_judge_is_said_wherever_gold_is_shown():
    forced = card(same=["j0"])
    (line,) = words.warnings(forced)
    assert "judge 'j0' labelled the training comparisons and is gold as well" in line
    assert f"**{line}**" in words.as_markdown(forced, COMPARE) and words.warnings(card()) == []


def test_given_comparisons_have_no_card():
    section = judge_section(NOBODY, {"pairs": 0.0, "given": 40.0})
    assert section["sentences"] == ["No pair was judged: the comparisons were given."]
    assert [caption for caption, _, _ in section["tables"]] == ["What was asked"] and section["charts"] == []
    assert "No pair was judged" in words.as_markdown(NOBODY, {"pairs": 0.0})


def test_the_section_has_a_chart_of_agreement_only_where_there_is_some():
    section = judge_section(card(judges=2), COMPARE)
    (chart,) = section["charts"]
    assert "pick the longest 0.800" in chart.description and "all together, kept pairs" in chart.description
    assert len(section["tables"]) == 4


def test_the_prefect_page_has_the_card_once_it_is_there(tmp_path):
    calls = Calls({"latency_p95": 0.25, "remote_formats_refused": 1})
    assert results.judge_markdown(tmp_path, calls) is None
    (tmp_path / "metrics").mkdir()
    for name, document in (("judge", card()), ("compare", COMPARE)):
        (tmp_path / "metrics" / f"{name}.json").write_text(json.dumps(document))
    page = results.judge_markdown(tmp_path, calls)
    assert "| latency p95 | 0.25 |" in page and "| remote formats refused | 1 |" in page
    assert "Calls" not in results.judge_markdown(tmp_path, Calls())
    assert "### Agreement" in page and "| pick the longest | 80.0% [" in page
    assert "| j0 | 100.0% [91.2%, 100.0%] | 1.00 [0.82, 1.00] |" in page
