"""`plumb judge-check`: the forms of public benchmarks in words of our own, with numbers worked out by hand."""

import json

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from models.chat.template import load_tokenizer
from models.judges.labelled import best_of_n, style_accuracy
from models.judges.reward_model import RewardModelScorer
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from tasks.common.errors import ConfigError, DataError
from tasks.common.rows import write_jsonl
from tasks.tools import judge_check
from tasks.tools.__main__ import main
from tasks.tools.inspection import SHIPPED_PARAMS
from tasks.tools.labelled_pairs import Columns, read_labelled
from tests.support import toy
from tests.support.compare_stage import server  # noqa: F401
from tests.support.endpoints import ENDPOINT
from tests.support.evaluation_rows import project_params
from tests.support.tiny_models import make_gpt2

# Question, the response shown first, the second, which is better, and the verdicts as shown and swapped, in places.
JUDGED = [
    ("Two and two?", "four", "it is five", 1, "A>B", "B>A"),  # the same response twice
    ("A colour?", "loud", "red or blue", 2, "A>B", "A>B"),  # a flip
    ("A bird?", "a wren, I think", "a trout", 1, "A=B", "B>A"),  # a tie, then the better
    ("A town?", "milk", "Ghent lies in Belgium", 2, None, "A>B"),  # no answer, then the better
]
SCORED = [{"prompt": "Why?", "chosen": "since it is so", "rejected": "no", "score_chosen": 1.5, "score_rejected": 0.5}]


def judgebench():
    return [
        {"question": asked, "response_A": a, "response_B": b, "label": ("A>B", "B>A")[better - 1], "source": "ours",
         "judgments": [said and {"decision": said} for said in verdicts]}
        for asked, a, b, better, *verdicts in JUDGED
    ]  # fmt: skip


def llmbar():
    """Its results name the file's responses in both orders, and the last entry is the verdict."""
    one, other = {"A>B": "1", "B>A": "2"}, {"A>B": "2", "B>A": "1"}
    return [
        {"input": asked, "output_1": a, "output_2": b, "label": better,
         "results": [["reasons"], {"swap = False": {"winner": one.get(shown, "tie" if shown else None)},
                                   "swap = True": {"winner": other[swapped]}}]}
        for asked, a, b, better, shown, swapped in JUDGED
    ]  # fmt: skip


def with_columns(label=("first", "second"), words=None):
    words = words or {"A>B": "first", "B>A": "second", "A=B": "tie", None: ""}
    return [
        {"prompt": asked, "response_a": a, "response_b": b, "label": label[better - 1], "verdict": words[shown],
         "verdict_swapped": words[swapped]}
        for asked, a, b, better, shown, swapped in JUDGED
    ]  # fmt: skip


def write(path, rows):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        write_jsonl(path, rows)
    return path


def checked(*paths, **more):
    return judge_check.judge_check(paths, more.pop("params", SHIPPED_PARAMS), **more)


def value(interval, digits=4):
    return None if interval is None else round(interval["value"], digits)


def values(group):
    return {name: value(found) for name, found in group.items() if name not in ("rows", "pairs", "orders")}


FORMS = {
    "judgebench.jsonl": judgebench(), "judgebench.parquet": judgebench(), "llmbar.json": llmbar(),
    "columns.jsonl": with_columns(),
    "names.jsonl": with_columns(("model_a", "model_b"), {"A>B": "A", "B>A": "B", "A=B": "tie (both bad)", None: "?"}),
    "brackets.jsonl": with_columns(("A", "B"), {"A>B": "[[A>>B]]", "B>A": "[[B>A]]", "A=B": "[[A=B]]", None: None}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_with_an_order_of_their_own(tmp_path, name):
    """Right are rows 1, 3 and 4, whose better response is named more often than the worse. Rows 1 to 3 are usable: a, a
    flip, a against a, b, a, so (1 + 0.5 + 1) / 3. With each pair in both ways of naming, 4 of 6 agree; labels are a, b
    and tie in 2 of 6 each, so 1/3 is expected, and kappa is (2/3 - 1/3) / (2/3). As shown (1 + 0 + 0.5) / 3; swapped
    all. The same winner in 1 of 3. Of 6 calls with a winner 4 name the first shown: 1, 2 and 2, 4. The longer response
    is named in rows 2 swapped, 3 swapped and 4; the better one is the longer but in row 1, and the first in 1 and 3."""
    found = checked(write(tmp_path / name, FORMS[name]))
    assert (found["total"]["rows"], found["total"]["pairs"], found["subsets"], found["notes"]) == (4, 4, {}, [])
    assert values(found["total"]) == {
        "right": 0.75, "accuracy": 0.8333, "kappa": 0.5, "swap_agreement": 0.3333, "prefers_first": 0.6667,
        "prefers_longer": 0.5, "unusable": 0.125, "longest": 0.75, "first": 0.5, "best_of_n": None,
    }  # fmt: skip
    assert [value(one) for one in found["total"]["orders"]] == [0.5, 1.0]
    assert 0 <= found["total"]["right"]["ci_low"] < 0.75 < found["total"]["right"]["ci_high"] <= 1


def test_verdicts_that_name_the_better_response(tmp_path):
    """RewardBench's form has no order: the better response is shown first, then second. One verdict says one order."""
    rows = [
        {"prompt": f"Sum {number}?", "chosen": "it is three", "rejected": "two", "verdict": said, "back": swapped,
         "subset": "sums" if number < 2 else "others"}
        for number, (said, swapped) in enumerate(
            [("chosen", "chosen"), ("chosen", "rejected"), ("rejected", "chosen"), ("tie", "second")]
        )
    ]  # fmt: skip
    path = write(tmp_path / "pairs.jsonl", rows)
    both = checked(path, columns=Columns(swapped="back"))
    assert [value(one) for one in both["total"]["orders"]] == [0.625, 0.75] and value(both["total"]["right"]) == 0.5
    assert both["total"]["first"] is None and list(both["subsets"]) == ["sums", "others"]
    assert [value(group["accuracy"]) for group in both["subsets"].values()] == [0.75, 0.75]
    one = checked(path)
    assert [value(order) for order in one["total"]["orders"]] == [0.625, None]
    assert value(one["total"]["accuracy"]) == 0.625 and one["total"]["swap_agreement"] is None
    by_verdict = checked(path, columns=Columns(subset="verdict"))
    assert list(by_verdict["subsets"]) == ["chosen", "rejected", "tie"]


def test_rm_bench_by_style(tmp_path):
    """In domain one the better scores 3, 2, 1 meet 2, 2, 0: right by rows 111, 001, 001, a tie being wrong.
    So below the diagonal (easy) none is, on it (normal) two of three, above it (hard) all. In domain two, in two parts,
    one row is all right and one all wrong: 0.5 throughout. The means are over the two domains."""
    styles = ("a b", "a b c", "a b c d")
    rows = [
        {"prompt": f"{domain}?", "chosen": [f"{domain} {text}" for text in styles], "rejected": list(styles),
         "domain": domain, "score_chosen": better, "score_rejected": [2, 2, 0]}
        for domain, better in (("one", [3, 2, 1]), ("two-yes", [9, 9, 9]), ("two-no", [-1, -1, -1]))
    ]  # fmt: skip
    found = checked(write(tmp_path / "rm.json", rows))
    assert (found["total"]["rows"], found["total"]["pairs"], found["total"]["orders"]) == (3, 27, [None, None])
    one, two = found["styles"]["domains"].values()
    assert one["matrix"] == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert [round(one[name], 4) for name in ("easy", "normal", "hard", "mean")] == [0, 0.6667, 1, 0.5556]
    assert two["matrix"] == [[0.5] * 3] * 3 and two["easy"] == two["mean"] == 0.5
    means = [round(found["styles"]["mean"][name], 4) for name in ("easy", "normal", "hard", "mean")]
    assert means == [0.25, 0.5833, 0.75, 0.5278]
    assert list(found["subsets"]) == ["one", "two-yes", "two-no"] and "no order can matter" in found["notes"][-1]
    pairs = read_labelled([tmp_path / "rm.json"], Columns()).pairs
    assert style_accuracy([pair for pair in pairs if pair.styles != (0, 0)]) is None, "a cell that nothing fills"


def test_reward_bench_2_takes_the_best_of_a_row(tmp_path):
    """Best at the top: 1; level with one of two: 1/2; below one: 0; two better ones, both above: 1. Of the 8 pairs the
    rows have 2, 1.5, 1 and 2 right."""
    rows = [([3.0], [2.0, 1.0]), ([2.0], [2.0, 1.0]), ([1.0], [2.0, 0.0]), ([5.0, 4.0], [3.0])]
    table = [
        {"prompt": f"{place}?", "chosen": [f"good {n}" for n in range(len(better))], "num_correct": len(better),
         "rejected": [f"bad {n}" for n in range(len(worse))], "score_chosen": better, "score_rejected": worse}
        for place, (better, worse) in enumerate(rows)
    ]  # fmt: skip
    found = checked(write(tmp_path / "two.jsonl", table))
    assert value(found["total"]["best_of_n"]) == 0.625 and found["styles"] is None
    assert found["total"]["rows"] == 4 and value(found["total"]["accuracy"]) == round((2 + 1.5 + 1 + 2) / 8, 4)
    pairs = read_labelled([tmp_path / "two.jsonl"], Columns()).pairs
    assert best_of_n([pairs[0]], 0.95) is None, "a row with one pair is a pair"


@pytest.mark.parametrize("score", [None, "none", float("nan"), []])
def test_a_score_that_is_none_is_an_unusable_verdict(tmp_path, score):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*SCORED, {**SCORED[0], "prompt": "How?", "score_rejected": score}]))
    found = checked(path)["total"]
    assert (found["pairs"], value(found["unusable"]), value(found["accuracy"])) == (2, 0.5, 1.0)


def test_every_form_of_preferences_that_the_data_may_have(tmp_path):
    ask = [{"role": "user", "content": "Why?"}]
    good, bad = "for a good reason", "why not"
    talk = [[*ask, {"role": "assistant", "content": text}] for text in (good, bad)]
    rows = {
        "hh": {"chosen": f"\n\nHuman: Why?\n\nAssistant: {good}", "rejected": f"\n\nHuman: Why?\n\nAssistant: {bad}"},
        "turns": {"chosen": talk[0], "rejected": talk[1]},
        "saferlhf": {"prompt": "Why?", "response_0": bad, "response_1": good, "better_response_id": 1},
        "arena": {"conversation_a": talk[1], "conversation_b": talk[0], "winner": "model_b"},
        "helpsteer3": {"context": ask, "response1": good, "response2": bad, "overall_preference": -2},
        "plain": {"prompt": ask, "chosen": good, "rejected": bad},
    }
    for name, row in rows.items():
        found = read_labelled([write(tmp_path / f"{name}.jsonl", [row])], Columns())
        assert [(pair.a, pair.b, pair.a_is_better) for pair in found.pairs] == [(good, bad, True)], name
        assert [message["content"].strip() for message in found.prompts[0]["prompt"]] == ["Why?"], name


def test_files_tell_subsets_apart_by_what_their_paths_do_not_share(tmp_path):
    paths = [tmp_path / place / "seen/result.jsonl" for place in ("natural", "hard/near", "hard/far")]
    for path in paths:
        path.parent.mkdir(parents=True)
        write(path, SCORED)
    assert list(checked(*paths)["subsets"]) == ["natural", "hard/near", "hard/far"]
    prompts = read_labelled(paths, Columns()).prompts
    assert len({row["id"] for row in prompts}) == 3, "a scorer knows prompts by their id"
    other = write(tmp_path / "other.jsonl", SCORED)
    assert list(checked(paths[0], other)["subsets"]) == ["natural/seen/result.jsonl", "other.jsonl"]


def test_what_is_left_out_is_said(tmp_path):
    """A label of 1 is the second where they are counted from 0: numbers are LLMBar's alone."""
    rows = [
        *with_columns()[:1], *with_columns(label=(0, 1))[:2], *with_columns(label=("tie", "tie"))[:1],
        {**with_columns()[0], "response_a": "same", "response_b": "same"},
    ]  # fmt: skip
    found = checked(write(tmp_path / "rows.jsonl", rows))
    assert found["total"]["pairs"] == 1
    assert found["notes"] == [
        "2 left out: its label names neither response", "1 left out: its label is a tie",
        "1 left out: chosen equals rejected",
    ]  # fmt: skip
    unjudged = {**with_columns()[1]}
    del unjudged["verdict"], unjudged["verdict_swapped"]
    assert checked(write(tmp_path / "some.jsonl", [rows[0], unjudged]))["notes"] == ["1 pairs have no verdict"]


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], Columns(), "holds no verdict on it; name who is checked"),
        (with_columns(label=("tie", "tie")), Columns(), r"no labelled pair: its label is a tie \(4\)"),
        ([{"prompt": "a", "response": "b"}], Columns(), "no labelled pair: it has no chosen or no rejected"),
        (SCORED, Columns(subset="part"), "has no column 'part'; its columns are chosen, prompt"),
    ],
)
def test_files_that_cannot_be_checked(tmp_path, rows, columns, words):
    with pytest.raises(DataError, match=words):
        checked(write(tmp_path / "rows.jsonl", rows), columns=columns)


# --- a reward model, and a judge ---


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    base = make_gpt2(folder / "base")
    for part in (reward_model_from_policy(load_policy(base), seed=1), load_tokenizer(base)):
        part.save_pretrained(folder / "model")
    return folder / "model"


def test_a_reward_model_directory(tmp_path, reward_model, capsys):
    """Against the scores of each response, compared one by one; the verdicts of the file count no more."""
    path = write(tmp_path / "bench.jsonl", judgebench())
    assert main("judge_check.judge_check", json.dumps({"files": [str(path)], "reward": str(reward_model)})) == 0
    found = json.loads(capsys.readouterr().out)
    scorer = RewardModelScorer.load(reward_model)
    right = 0
    for number, (asked, a, b, better, *_) in enumerate(JUDGED):
        row = {"id": str(number), "prompt": [{"role": "user", "content": asked}]}
        first, second = scorer.values([row, row], [a, b])
        right += (first > second) == (better == 1)
    assert value(found["total"]["right"]) == right / 4 and found["checked"] == str(reward_model)
    assert found["total"]["orders"] == [None, None] and found["total"]["prefers_first"] is None
    assert value(found["total"]["first"]) == 0.5 and value(found["total"]["unusable"]) == 0.0


def test_what_does_not_fit_into_the_context_is_unusable(tmp_path, reward_model):
    """The model reads 512 tokens. A lone pair that does not fit leaves nothing to score."""
    long = {**SCORED[0], "chosen": "because it is so " * 300}
    found = checked(write(tmp_path / "some.jsonl", [SCORED[0], long]), reward=reward_model)
    assert (found["total"]["pairs"], value(found["total"]["unusable"])) == (2, 0.5)
    assert found["notes"][0] == "1 pairs are longer than the model's context: unusable verdicts"
    alone = checked(write(tmp_path / "long.jsonl", [long]), reward=reward_model)["total"]
    assert value(alone["right"]) == 0.0 and alone["accuracy"] is None and value(alone["longest"]) == 1.0


@pytest.fixture
def params(tmp_path):
    document = json.loads(json.dumps(project_params()))
    document["compare"]["judges"].append(ENDPOINT)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_judge_of_params_in_both_orders(tmp_path, server, params):
    """The longer wins in any order: rows 2 to 4. Eight calls of 100 and 10 tokens; run again, nobody is asked."""
    path = write(tmp_path / "bench.jsonl", judgebench())
    found = checked(path, params=params, judge="remote")
    assert values(found["total"])["right"] == value(found["total"]["longest"]) == 0.75
    assert [value(one) for one in found["total"]["orders"]] == [0.75, 0.75]
    assert (value(found["total"]["swap_agreement"]), value(found["total"]["prefers_first"])) == (1.0, 0.5)
    assert found["notes"] == ["8 calls, cost 0.00096, stored answers included"] and len(server.calls) == 8
    assert checked(path, params=params, judge="remote") == found and len(server.calls) == 8


def test_the_budget_of_a_check(tmp_path, server, params):
    path = write(tmp_path / "bench.jsonl", judgebench())
    found = checked(path, params=params, judge="remote", max_calls=5)
    assert len(server.calls) == 5 and found["total"]["pairs"] == 2
    assert found["notes"][-1] == "the budget left 2 of 4 pairs unasked"
    with pytest.raises(ConfigError, match="left all 1 pairs unasked; raise --max-calls"):
        checked(write(tmp_path / "one.jsonl", SCORED), params=params, judge="remote", max_calls=1)


@pytest.mark.parametrize(("name", "words"), [
    ("absent", "name no judge 'absent' in compare.judges; known are careful, warm, brisk, earnest, practical, remote"),
    ("careful", "judge 'careful' is of kind simulated, which answers nothing but its own prompts"),
])  # fmt: skip
def test_judges_that_cannot_be_asked(tmp_path, params, name, words):
    with pytest.raises(ConfigError, match=words):
        checked(write(tmp_path / "one.jsonl", SCORED), params=params, judge=name)


# --- the command ---


def test_the_command(tmp_path):
    rm_bench = {"prompt": "Why?", "chosen": ["so", "so it is"], "rejected": ["no", "no, no"], "score_chosen": [1, 2],
                "score_rejected": [0, 1], "domain": "chat"}  # fmt: skip
    write(tmp_path / "bench.jsonl", judgebench())
    shown = toy.plumb(tmp_path, "judge-check", str(write(tmp_path / "rm.json", [rm_bench])), "bench.jsonl")
    assert shown.returncode == 0, shown.stderr
    for words in ("the file's verdicts on 8 labelled pairs of 5 rows", "│ chat ", "│ ours ", "│ all ",
                  "Verdicts name the response shown first in 0.667", "mean of domains", "│ 1.000 │ 1.000  │ 0.000"):
        assert words in shown.stdout, shown.stdout
    both = toy.plumb(tmp_path, "judge-check", "bench.jsonl", "--judge", "a", "--reward", "b")
    assert (both.returncode, both.stderr) == (1, "plumb: --reward and --judge name two that would be checked; give one "
                                                 "of them\n")


def test_what_cannot_be_checked_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main("judge_check.judge_check", '{"files": ["absent.jsonl"]}') == 1
    assert capsys.readouterr() == ("", "absent.jsonl does not exist; name a table that does\n")
