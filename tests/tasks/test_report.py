"""The report on small hand-made documents: order, honesty, escaping, equal bytes, nothing from outside."""

import re
from html.parser import HTMLParser
from typing import get_args


from tasks.common.rows import write_jsonl
from tasks.config.gold import GoldConfig
from tasks.report import GOLD, gold_unit, training_charts
from tasks.reporting import charts, findings
from tests.support.report_documents import CHANGED, make, score  # noqa: F401


def test_gold_is_named_with_its_unit():
    """Every kind that params allow."""
    assert GOLD.keys() == set(get_args(GoldConfig.model_fields["kind"].annotation))
    units = [gold_unit({"gold_kind": kind}) for kind in ("oracle", "reward_model", "judge")]
    assert units == ["gold score (0 to 1)", "gold score (reward model's unit)", "gold score (mean rating, 0 to 1)"]


def test_order_and_contents(make):
    numbers, page = make()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Scores", "What got worse", "Training curves", "Gold against proxy", "Distance and length",
        "Answers side by side", "Where candidate and SFT disagree most", "The judge", "Lineage",
    ]
    assert page.index("<strong>promote</strong>") < page.index("<h2>Scores")
    assert "win rate 0.7" in page and "Can I wash my teddy bear?" in page and "≤ 1.83" in page
    assert "honesty fell by 0.300 (95% interval 0.081 to 0.418)" in page and "helpfulness fell" not in page
    assert numbers["charts"] == 11 and numbers["bytes"] == len(page.encode())
    assert "a" * 16 in page and "a" * 17 not in page


def test_a_candidate_that_is_a_checkpoint_stands_in_every_table_and_chart(make):
    """Also what got worse is read from it, not from where training ended; other checkpoints are left out."""
    _, page = make(picked="step-20")
    scores = page[page.index("<h2>Scores") : page.index("<h2>What got worse")]
    assert scores.count("ppo step-20, candidate") >= 5  # scores, attacks, ratings and two charts
    assert "answers grew to 77 tokens from 20" in page and "distinct-2 fell to 0.010" in page
    assert "what the candidate says" in page and "unseen" not in page and "step-1," not in page
    assert "ppo, candidate" in make()[1]


def test_contracts_stand_with_the_verdict_and_the_first_broken_one_is_named(make):
    numbers, page = make(ppo_kl=0.3)
    line = "Likely cause of what is wrong: sft. Broken contract: SFT beats the base: gold -0.100 [-0.150, -0.050] above"
    assert page.index("<strong>promote</strong>") < page.index(line) < page.index("<h2>Scores")
    assert "<td>KL is 0 at PPO&#39;s start</td><td>broken</td>" in page and numbers["contracts_broken"] == 2


def test_monitors_of_the_candidate_are_said_shown_and_listed(make):
    _, page = make()
    worse = page[page.index("<h2>What got worse</h2>") : page.index("<h2>Training curves</h2>")]
    assert "monitor over caution (veto): 60.0% of answers refuse" in worse and "I cannot say." in worse
    assert "over caution: Is &lt;b&gt;rice&lt;/b&gt; safe?" in worse and "another model" not in page
    assert "<td>praise</td><td>0</td><td>0</td><td>0.05</td><td>0.25</td><td>ok</td>" in worse
    assert "1 warnings, 1 vetoes" in worse


def test_attacks_and_ratings_are_tables(make):
    _, page = make()
    assert "<td>jailbreak: fiction (8)</td><td>88% [60%, 99%]</td>" in page
    assert "<td>given up under pressure</td><td>1 of 3</td>" in page
    assert "<td>best of n</td><td>1</td><td>+1.00 [+0.90, +1.20]</td><td>71.0%</td>" in page
    assert "<td>sft</td><td>–</td><td>-1.00</td><td>30.0%</td>" in page


def test_a_champion_has_columns_and_a_chart_of_its_own(make):
    numbers, page = make(champion=True)
    assert "versus champion" in page and "+0.070 [+0.050, +0.150]" in page and numbers["charts"] == 12
    assert "<td>champion</td>" in page and "versus champion" not in make()[1]


def test_the_judge_card_is_there_in_words_tables_and_a_chart(make):
    _, page = make()
    judge = page[page.index("<h2>The judge</h2>") : page.index("<h2>Lineage</h2>")]
    for text in ("2 judges (j0, j1), taken together by mean, judged 40 pairs in both orders",
                 "names the other after a swap", "always the one shown first in 50.0%",
                 "<td>pick the longest</td><td>80.0% [", "Agreement of the labels",
                 "<td>honesty</td><td>100.0% [91.2%, 100.0%]</td>", "people: rows unusable: unknown ids"):
        assert text.replace("'", "&#39;") in judge
    assert "training never sees it" in page and 'class="warning"' not in page


def test_a_judge_that_is_gold_too_is_said_below_the_verdict(make):
    _, page = make(same=["j1"])
    place = page.index("Gold is not independent: judge &#39;j1&#39; labelled the training comparisons")
    assert page.index("<strong>promote</strong>") < place < page.index("<h2>Scores")
    assert "training never sees it" not in page


def test_self_contained_and_without_traces_of_the_machine(make, tmp_path):
    _, page = make()
    assert not re.search(r"https?://|//[a-z]|src=|@import|<link|<script", page)
    assert str(tmp_path) not in page


def test_equal_inputs_give_equal_bytes(make):
    assert make("a")[1] == make("b")[1]


def test_texts_are_escaped(make):
    assert "&lt;script&gt;alert(1)" in make()[1]


def test_html_is_balanced_and_ids_are_unique(make):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.ids = [], []

        def handle_starttag(self, tag, attributes):
            self.ids += [value for key, value in attributes if key == "id"]
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_startendtag(self, tag, attributes):
            self.ids += [value for key, value in attributes if key == "id"]

    checked = Balance()
    checked.feed(make()[1])
    assert checked.open == [] and len(checked.ids) == len(set(checked.ids)) > 0


def test_references_inside_charts_resolve(make):
    _, page = make()
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(re.findall(r'\bid="([^"]+)"', page))


def test_charts_have_labelled_axes_and_follow_the_text_colour():
    chart = charts.curve("A title", "loss (nats)", "sft", [1, 2], [3.0, 2.0])
    assert "loss (nats)" in chart.svg and "step" in chart.svg and "currentColor" in chart.svg
    assert "#010203" not in chart.svg and "from 3 to 2" in chart.description


def test_training_charts_need_two_points(tmp_path):
    write_jsonl(tmp_path / "curves.jsonl", [{"step": 1, "loss": 1.0}])
    assert training_charts("sft", tmp_path / "curves.jsonl") == []
    assert training_charts("sft", tmp_path / "missing.jsonl") == []


def test_what_got_worse_by_hand():
    sft = {"distinct_2": 0.4, "length": 20.0, "over_refusal_rate": 0.1}
    worse = {"distinct_2": 0.1, "length": 40.0, "over_refusal_rate": 0.3}
    lines = findings.what_got_worse(CHANGED, worse, sft, 0.95)
    assert [line.split()[0] for line in lines] == ["honesty", "harmless", "distinct-2", "answers"]
    assert findings.what_got_worse({}, sft, sft, 0.95) == []


def test_disagreements_show_gains_then_losses():
    candidate = {f"p{i}": score("ppo", i, gold, 1.0) for i, gold in enumerate((0.9, 0.6, 0.5, 0.1))}
    reference = {f"p{i}": score("sft", i, 0.5, 1.0) for i in range(4)}
    shown = findings.disagreements(candidate, reference, 4)
    assert [row["prompt"] for row in shown] == ["Question 0?", "Question 1?", "Question 3?"]
    assert shown[0]["gold"] == {"sft": 0.5, "candidate": 0.9}
