"""No split of `prepare` nearly repeats what a held-out split asks: other marks or width, a word more, a longer text."""

import json

import pytest

from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl
from tasks.config.data import DataConfig
from tasks.data.fields import root_of
from tasks.data.near_repeats import words_of
from tasks.prepare import write_splits
from tests.support.prepare_rows import NEAR, config

FILES = {
    "sft": "demonstrations", "heldout_demonstrations": "heldout_demonstrations", "compare": "compare_prompts",
    "rl": "rl_prompts", "select": "select_prompts", "gate": "gate_prompts", "preferences": "preferences",
    "gold": "gold_preferences",
}  # fmt: skip
QUESTION = "Which river runs through the old town of {} before it reaches the sea?"  # 13 words, 11 shingles


def data_config(**changes) -> DataConfig:
    return config(preferences="prefs.jsonl", **changes).data


def write(folder, demos, prompts, prefs):
    folder.mkdir(exist_ok=True)
    for name, rows in (("demos", demos), ("prompts", prompts), ("prefs", prefs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def splits(folder):
    return {split: read_jsonl(folder / f"{name}.jsonl") for split, name in FILES.items()}


def questions_of(row):
    return [turn["content"] for turn in row.get("prompt") or row["messages"] if turn["role"] == "user"]


def leaks(by_split, held_out="gate"):
    """Rows of other splits whose words are those of a row that is held out, by split."""
    held = {tuple(word for turn in questions_of(row) for word in words_of(turn)) for row in by_split[held_out]}
    return {
        split: count
        for split, rows in by_split.items()
        if split != held_out
        if (count := sum(tuple(word for turn in questions_of(row) for word in words_of(turn)) in held for row in rows))
    }


def variants(number: int) -> list[str]:
    """One question as people write it: without and with a comma, without its mark, in other case and width."""
    plain = f"Please tell me what you know of thing number {number}"
    wide = plain.replace("thing", "ｔｈｉｎｇ")
    return [f"{plain}?", plain, plain.replace("Please", "Please,") + "?", plain.upper() + " ?!", wide]


def test_four_hundred_questions_with_and_without_a_mark(tmp_path):
    """Before, 311 of 642 RL prompts and 528 of 1,116 demonstrations were prompts of the gate but for such marks."""
    texts = [text for number in range(400) for text in variants(number)]
    demos = [{"prompt": text, "completion": f"It is {i}."} for i, text in enumerate(texts)]
    prefs = [{"prompt": text, "chosen": "Yes.", "rejected": "No."} for text in texts]
    folder = write(tmp_path / "data", demos, [{"prompt": text} for text in texts], prefs)
    metrics = write_splits(data_config(), folder, tmp_path, None)
    by_split = splits(tmp_path)
    assert min(len(rows) for rows in by_split.values()) > 50
    assert [leaks(by_split, held_out) for held_out in ("gate", "gold")] == [{}, {}]
    assert set(leaks(by_split, "select")) <= {"heldout_demonstrations"}, "which answer what `select` asks"
    assert sum(value for name, value in metrics.items() if name.startswith("near_repeats_")) == 0, "one root, one split"


def test_the_same_questions_under_roots_of_their_own(tmp_path):
    """A team that numbers its rows: each variant is another question to it. What trains loses what the gate asks, and
    what select asks word for word."""
    texts = [text for number in range(60) for text in variants(number)]
    splits_in_turn = ("gate", "rl", "select", "compare", "rl")
    prompts = [{"prompt": text, "root": f"p{i}", "split": splits_in_turn[i % 5]} for i, text in enumerate(texts)]
    other = [f"Say {word} to somebody else, slowly" for word in ("hello", "goodbye")]
    prompts += [{"prompt": text, "split": split} for text, split in zip(other, ("rl", "select"), strict=True)]
    demos = [{"prompt": text, "completion": "It is.", "root": f"d{i}", "split": "sft"} for i, text in enumerate(texts)]
    demos.append({"prompt": "Name a colour that you like", "completion": "Blue.", "split": "sft"})
    prefs = [{"prompt": text, "chosen": "Yes.", "rejected": "No.", "root": f"c{i}", "split": "preferences"}
             for i, text in enumerate([*texts, "Sing a song about the rain and the wind"])]
    folder = write(tmp_path / "data", demos, prompts, prefs)
    metrics = write_splits(data_config(bad_rows="skip"), folder, tmp_path, None)
    by_split = splits(tmp_path)
    assert [leaks(by_split, held_out) for held_out in ("gate", "select")] == [{}, {}] and len(by_split["gate"]) == 60
    assert [len(by_split[split]) for split in ("sft", "rl", "select", "compare", "preferences")] == [1, 1, 1, 0, 1]
    counts = {split: metrics[f"near_repeats_{split}"] for split in ("sft", "rl", "select", "compare", "preferences")}
    assert counts == {"sft": 180, "rl": 120, "select": 60, "compare": 60, "preferences": 180}
    skipped = [metrics[f"skipped_{kind}"] for kind in ("demonstrations", "prompts", "preferences")]
    assert skipped == [120, 0, 120]
    assert metrics["unused_demonstrations"] == metrics["unused_prompts"] == metrics["unused_preferences"] == 0


REPEATS = {
    "one word more": QUESTION.format("Prague") + " Please",  # 11 of 12 shingles
    "inside a longer text": "Let me ask you something that came up at school today. " + QUESTION.format("Prague")
                            + " I need it for my homework, and my sister does not know it either.",
    "other marks": QUESTION.format("“PRAGUE”").replace(" before", ", before"),
}  # fmt: skip


@pytest.mark.parametrize("how", REPEATS)
@pytest.mark.parametrize("held_out", ["gate", "select", "gold"])
def test_each_split_is_kept_from_each_held_out_one(tmp_path, capsys, held_out, how):
    """The same text in every split, under another root each time, and with more dots, as what repeats to the letter is
    refused. Of two held-out splits gate goes before select, before gold; held-out demonstrations belong to select."""
    text, order, dots = REPEATS[how], ("gate", "select", "gold"), iter(range(1, 99))

    def rows(kind, names, **more):
        texts = {name: QUESTION.format("Prague") if name == held_out else text + "." * next(dots) for name in names}
        texts = {name: text for name, text in texts.items() if name not in order[: order.index(held_out)]}
        rest = [{"prompt": f"Tell me about {kind} {name}", "split": name, **more} for name in names]
        same = [{"prompt": text, "split": name, "root": f"{kind} {name}", **more} for name, text in texts.items()]
        return same + rest

    folder = write(tmp_path / "data", rows("demos", ("sft", "select"), completion="It is."),
                   rows("prompts", ("compare", "rl", "select", "gate")),
                   rows("prefs", ("preferences", "gold"), chosen="Yes.", rejected="No."))  # fmt: skip
    metrics = write_splits(data_config(), folder, tmp_path, None)
    near = {name.partition("near_repeats_")[2]: count for name, count in metrics.items() if "near_repeats_" in name}
    later = {split: 1 for split in order[order.index(held_out) + 1 :]}
    demonstrations = {"heldout_demonstrations": 1} if held_out == "gate" else {}
    wanted = {"sft": 1, "compare": 1, "rl": 1, "preferences": 1, **later, **demonstrations}
    assert {split: count for split, count in near.items() if count} == wanted
    assert capsys.readouterr().out.count("1 row(s) of ") == len(wanted)
    by_split = splits(tmp_path)
    assert not any(text in questions_of(row)[0] for split in wanted for row in by_split[split])
    assert questions_of(by_split[held_out][0]) == [QUESTION.format("Prague")]


def test_rows_of_one_root_and_other_questions_stay(tmp_path):
    """Two towns in one question are two questions: 8 shingles of 14. Rows of one root stand in one split anyway."""
    prompts = [{"prompt": QUESTION.format(town), "split": split} for town, split in
               (("Prague", "gate"), ("Bremen", "rl"), ("Lisbon", "select"), ("Porto", "compare"))]  # fmt: skip
    prompts.append({**prompts[0], "prompt": QUESTION.format("Prague") + " Please!", "root": root_of(
        [{"role": "user", "content": QUESTION.format("Prague")}])})
    demos = [{"prompt": QUESTION.format("Vienna"), "completion": "The Danube.", "split": "sft"}]
    prefs = [{"prompt": QUESTION.format("Cork"), "chosen": "a", "rejected": "b", "split": "preferences"}]
    metrics = write_splits(data_config(), write(tmp_path / "data", demos, prompts, prefs), tmp_path, None)
    assert not any(count for name, count in metrics.items() if name.startswith("near_repeats_"))
    assert metrics["rows_gate"] == 2


def test_a_split_that_nearly_repeats_as_a_whole_says_why_it_is_empty(tmp_path):
    prompts = [{"prompt": QUESTION.format("Prague"), "split": "gate"}, {"prompt": "Sing to me", "split": "select"},
               {"prompt": QUESTION.format("Prague") + " Please", "split": "rl"}]  # fmt: skip
    demos = [{"prompt": "Name a colour", "completion": "Blue.", "split": "sft"}]
    prefs = [{"prompt": "Say no", "chosen": "No.", "rejected": "Yes.", "split": "preferences"}]
    folder = write(tmp_path / "data", demos, prompts, prefs)
    with pytest.raises(DataError, match="all 1 rows of the split 'rl' nearly repeat a held-out prompt; give variants"):
        write_splits(data_config(), folder, tmp_path, None)
    loose = {**NEAR, "resemblance": 1.0, "containment": 1.0, "contained_words": 99}
    assert write_splits(data_config(near_repeats=loose), folder, tmp_path, None)["rows_rl"] == 1


# --- roots ---


def root(text: str) -> str:
    return root_of([{"role": "system", "content": "x"}, {"role": "user", "content": text}])


@pytest.mark.parametrize("texts", [
    variants(7), ["Don't go!", "dont go", "DON’T GO"], ["teddy-bear", "teddy bear", "Teddybear"],
    ["你好，世界", "你好 世界！"], ["Ｗｈａｔ　ｉｓ　１？", "what is 1"], ["Straße", "STRASSE"], ["x = f(1)", "x=f(1);"],
])  # fmt: skip
def test_a_root_ignores_punctuation_case_width_and_spaces(texts):
    assert len({root(text) for text in texts}) == 1


def test_texts_without_words_have_roots_of_their_own():
    texts = ["?", "!!!", "+ -", "🙂", "🙃", "🇩🇪", "🇫🇷", "→ ∞", "== !=", "…", "❤️", "☀️", "a", "b"]
    assert len({root(text) for text in texts}) == len(texts) and root("🙂  🙃") == root("🙂 🙃")
