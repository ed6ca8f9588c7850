"""The judge that people's verdicts make: a verdict belongs to the texts that were judged, and every row is counted."""

import hashlib
import json
from dataclasses import fields

import pytest

from models.judges.human import HumanJudge, ImportCounts, check_verdicts, read_verdicts
from models.judges.shown import prompt_sha256, prompt_text, text_sha256
from models.judges.verdict_form import VerdictForm
from tasks.compare import shown_samples
from tasks.judging.making import make_judge
from tests.support.evaluation_rows import answer, prompt

POLICY, OTHER_POLICY = "0" * 64, "1" * 16
ASKED = prompt(0)["prompt"][0]["content"]
COLUMNS = ("prompt", "first_text", "second_text", "annotator", "verdict", "at")


def sampled(*texts: str, number: int = 0, **fields) -> list[dict]:
    rows = [answer(prompt(number), text, index, **fields) for index, text in enumerate(texts)]
    return shown_samples(rows, {f"p{number:03d}": prompt(number)})


SAMPLES = sampled("good", "bad", "fair")


def row(first="good", second="bad", who="ann", verdict="first", at=None, asked=ASKED, **more) -> dict:
    said = zip(COLUMNS, (asked, first, second, who, verdict, at), strict=True)
    return {key: value for key, value in said if value is not None} | more


def by_id(first="p000#0", second="p000#1", who="ann", verdict="first", prompt_id="p000", **more) -> dict:
    return {"prompt_id": prompt_id, "first": first, "second": second, "annotator": who, "verdict": verdict, **more}


def written(tmp_path, *rows, name="h.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows), encoding="utf-8")
    return path


def judged(tmp_path, *rows, samples=SAMPLES, **form) -> HumanJudge:
    return read_verdicts("people", written(tmp_path, *rows), samples, VerdictForm(**form))


def counts(**expected) -> dict:
    return {**vars(ImportCounts()), **expected}


def test_people_are_averaged_and_mirrored(tmp_path):
    """ann: good over bad; bob, who saw the other order: good as well; cy: a tie. (1 + 1 + 0.5) / 3."""
    judge = judged(tmp_path, row(), row("bad", "good", "bob", "second"), row(who="cy", verdict="tie"))
    assert judge.compare(prompt(0), "good", "bad", key="").p_first == pytest.approx(2.5 / 3)
    assert judge.compare(prompt(0), "bad", "good", key="").p_first == pytest.approx(0.5 / 3)
    assert not judge.compare(prompt(0), "good", "fair", key="").valid
    assert not judge.compare(prompt(1), "good", "bad", key="").valid, "the same texts, of another question"
    assert judge.annotations(prompt(0), "bad", "good") == {"ann": 0.0, "bob": 0.0, "cy": 0.5}
    assert judge.counts.used == 3 and judge.rate(prompt(0), "good") == {}


# --- a verdict belongs to texts ---


def test_samples_drawn_anew_under_the_same_ids_lose_their_verdicts(tmp_path):
    """After SFT was trained anew p000#0 reads otherwise: who said that it is better said so of another text."""
    rows = [row("good", "bad"), row("bad", "fair"), by_id(**{"who": "bob", "policy": POLICY})]
    before = judged(tmp_path, *rows)
    assert before.counts.used == 3
    after = judged(tmp_path, *rows, samples=sampled("new", "bad", "fair", policy=OTHER_POLICY))
    assert vars(after.counts) == counts(used=1, other_texts=1, other_policies=1)
    assert not after.compare(prompt(0), "new", "bad", key="").valid
    assert after.compare(prompt(0), "bad", "fair", key="").p_first == 1.0
    with pytest.raises(ValueError, match=r"no row of .* can be used \(1 other texts\); a verdict .*`plumb pairs`"):
        judged(tmp_path, rows[0], samples=sampled("new", "bad", "fair"))


def test_texts_count_wherever_they_stand_now(tmp_path):
    """Ids say nothing where texts do: samples in another order, and under another prompt's id."""
    moved = [{**one, "id": f"p9#{i}", "prompt_id": "p9"} for i, one in enumerate(sampled("bad", "fair", "good"))]
    judge = judged(tmp_path, by_id() | row(), samples=moved)
    assert judge.compare(prompt(0), "good", "bad", key="").p_first == 1.0


@pytest.mark.parametrize("changed", ["the prompt", "the first text", "the second text", "the prompt of the samples"])
def test_a_verdict_on_another_text_is_not_used(tmp_path, changed):
    rows = {"the prompt": row(asked="Why?"), "the first text": row("Good."), "the second text": row(second="worse"),
            "the prompt of the samples": row(prompt_id="p000")}
    samples = SAMPLES
    if changed == "the prompt of the samples":
        samples = [{**one, "prompt": [{"role": "user", "content": "How?"}]} for one in SAMPLES]
    with pytest.raises(ValueError, match="1 other texts"):
        judged(tmp_path, rows[changed], samples=samples)


def test_ids_without_texts_need_the_hash_of_the_policy_that_made_the_samples(tmp_path):
    assert judged(tmp_path, by_id(policy=POLICY)).compare(prompt(0), "good", "bad", key="").p_first == 1.0
    assert judged(tmp_path, by_id(), policy=POLICY).counts.used == 1, "params name the policy of an old file"
    for rows, form, reason in (
        ([by_id()], {}, "1 without texts"),
        ([by_id(policy=OTHER_POLICY)], {}, "1 other policies"),
        ([by_id()], {"policy": OTHER_POLICY}, "1 other policies"),
        ([by_id(second="p000#9", policy=POLICY), by_id(prompt_id="p9", policy=POLICY)], {}, "2 unknown ids"),
    ):
        with pytest.raises(ValueError, match=reason):
            judged(tmp_path, *rows, **form)
    served = sampled("good", "bad", policy="our-model")
    with pytest.raises(ValueError, match="1 other policies"):
        judged(tmp_path, by_id(policy="our-model"), samples=served)


@pytest.mark.parametrize("missing", ["prompt", "first_text", "second_text"])
def test_one_text_less_is_too_few(tmp_path, missing):
    """Ids beside the others do not stand in for it."""
    said = {key: value for key, value in (row() | by_id()).items() if key != missing}
    with pytest.raises(ValueError, match=r"\(1 without texts\)"):
        judged(tmp_path, said)


@pytest.mark.parametrize("change", [
    lambda text: text.replace("\n", "\r\n"), lambda text: f" {text}\n", lambda text: text.replace("\n", "\r"),
])  # fmt: skip
def test_line_ends_and_space_around_a_text_are_no_other_text(tmp_path, change):
    poem = "Roses\nare red."
    judge = judged(tmp_path, row(change(poem), "bad"), samples=sampled(poem, "bad"))
    assert judge.compare(prompt(0), poem, "bad", key="").p_first == 1.0


def test_hashes_say_the_same_as_texts_and_come_first():
    roles = ("user", "assistant", "user")
    talk = [{"role": role, "content": text} for role, text in zip(roles, ("Hi", "Yes?", "Why?"), strict=True)]
    assert prompt_text(talk) == "user: Hi\n\nassistant: Yes?\n\nuser: Why?"
    assert prompt_text(prompt(0)["prompt"]) == ASKED and prompt_sha256(ASKED) == prompt_sha256(prompt(0)["prompt"])
    assert text_sha256("good") == hashlib.sha256(b"good").hexdigest()


@pytest.mark.parametrize("text", ['{"a": 1}', "[1, 2]", "[link] see there", "42", '["a", {"content": 3}]'])
def test_a_text_that_looks_like_json_stays_a_text(tmp_path, text):
    judge = judged(tmp_path, row(text, "bad"), samples=sampled(text, "bad"))
    assert judge.compare(prompt(0), text, "bad", key="").p_first == 1.0


@pytest.mark.parametrize("pack", [list, json.dumps])
def test_turns_are_the_text_that_they_make(tmp_path, pack):
    said = row(pack([{"role": "assistant", "content": "good"}]), asked=pack([{"role": "user", "content": ASKED}]))
    assert judged(tmp_path, said).counts.used == 1


def test_hashes_without_texts(tmp_path):
    hashes = {"prompt_sha256": prompt_sha256(ASKED), "first_sha256": text_sha256("bad").upper(),
              "second_sha256": text_sha256("good")}
    judge = judged(tmp_path, {"annotator": "ann", "verdict": "second", **hashes, "first_text": "cut by a sheet"})
    assert judge.compare(prompt(0), "good", "bad", key="").p_first == 1.0


# --- every row is counted ---


def test_every_row_that_people_wrote_is_counted(tmp_path):
    rows = [row(), row(), row(at="2026-01-02"), row("bad", "fair", at="2026-01-01"),
            row("fair", "bad", at="2026-01-02"), row("good", "fair"), row("fair", "good"), row("good", "nothing"),
            row(asked="Why?"), row(verdict="perhaps"), row(who=" "), row(verdict=None), by_id(),
            by_id(policy=OTHER_POLICY), by_id(second="p000#9", policy=POLICY), row("good", "good "),
            "{broken", "[1]", row(who="bob", verdict="First ")]
    found = judged(tmp_path, *rows).counts
    assert vars(found) == counts(
        used=3, repeated=2, corrected=1, contradictory=2, broken_lines=2, missing_columns=2, unknown_verdicts=1,
        without_texts=1, other_texts=2, other_policies=1, unknown_ids=1, same_texts=1)
    assert sum(vars(found).values()) == len(rows)
    assert found.named.startswith("3 used, 2 repeated, 1 corrected, 2 contradictory, ")


def test_counts_are_those_of_the_card():
    from tasks.reporting.judge_card import OF_A_JUDGE

    assert set(OF_A_JUDGE) == {one.name for one in fields(ImportCounts)}


TWICE = [("first", "2026-05-01T10:00:00Z"), ("second", "2026-05-02T09:00:00Z")]


@pytest.mark.parametrize(("said", "p_first", "expected"), [
    (TWICE, 0.0, {"used": 1, "corrected": 1}),
    (TWICE[::-1], 0.0, {"used": 1, "corrected": 1}),
    ([("first", "2026-05-02 01:00+05:00"), ("tie", "2026-05-01T20:30:00Z")], 0.5, {"used": 1, "corrected": 1}),
    ([("first", "1.5.2026 10:00"), ("second", "12.4.2026 11:30")], 1.0, {"used": 1, "corrected": 1}),
    ([("first", "2026/5/1 10:00"), ("second", "2026/04/12 11:30:00")], 1.0, {"used": 1, "corrected": 1}),
    ([("first", 1777629600), ("second", 1777629601500)], 0.0, {"used": 1, "corrected": 1}),
    ([("first", "46143,41"), ("second", "46143,42")], 0.0, {"used": 1, "corrected": 1}),
    ([*TWICE, ("first", "2026-05-03")], 1.0, {"used": 1, "repeated": 1, "corrected": 1}),
    ([("first", None), ("second", None)], None, {"contradictory": 2}),
    ([("first", "2026-05-01"), ("second", None)], None, {"contradictory": 2}),
    ([("first", "2026-05-01"), ("second", "2026-05-01")], None, {"contradictory": 2}),
    ([("first", "yesterday"), ("second", "2026-05-01")], None, {"unknown_times": 2}),
    ([("first", "5/1/2026 10:00"), ("second", "4/12/2026 10:00")], None, {"unknown_times": 2}),  # May or January?
    ([("first", "5/1/2026"), ("first", "4/12/2026")], 1.0, {"used": 1, "repeated": 1}),
    ([("first", None), ("first", None)], 1.0, {"used": 1, "repeated": 1}),
])  # fmt: skip
def test_who_corrects_a_verdict_means_the_last_and_without_times_contradicts_himself(tmp_path, said, p_first, expected):
    rows = [row(verdict=verdict, at=at) for verdict, at in said]
    judge = judged(tmp_path, *rows, row("bad", "fair"))
    assert vars(judge.counts) == counts(**{**expected, "used": expected.get("used", 0) + 1})
    verdict = judge.compare(prompt(0), "good", "bad", key="")
    assert (verdict.p_first if verdict.valid else None) == p_first, "a contradiction is nobody's tie"


def test_an_order_turned_round_is_a_contradiction_too(tmp_path):
    judge = judged(tmp_path, row(), row("bad", "good"), row("bad", "fair"))
    assert not judge.compare(prompt(0), "good", "bad", key="").valid and judge.counts.contradictory == 2


def test_one_person_is_one_however_the_name_is_typed(tmp_path):
    judge = judged(tmp_path, *(row(who=name) for name in ("ann lee", "Ann Lee ", "ANN  LEE")))
    assert judge.annotations(prompt(0), "good", "bad") == {"ann lee": 1.0} and judge.counts.repeated == 2


# --- files ---


@pytest.mark.parametrize("name", ["h.jsonl", "h.csv"])
def test_a_file_with_a_byte_order_mark_loses_no_row_and_other_encodings_are_named(tmp_path, name):
    said = row()
    text = json.dumps(said) if name.endswith("jsonl") else f"{','.join(said)}\n{','.join(said.values())}\n"
    file = tmp_path / name
    file.write_text(text, encoding="utf-8-sig")
    assert vars(read_verdicts("people", file, SAMPLES).counts) == counts(used=1)
    file.write_text(text, encoding="utf-16")
    with pytest.raises(ValueError, match=rf"{name} is not UTF-8 .*; save it as UTF-8$"):
        read_verdicts("people", file, SAMPLES)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("h.txt", "", "h.txt is none of .jsonl, .json, .csv, .tsv; give human verdicts in one of them"),
    ("h.jsonl", "", "no row of .*h.jsonl can be used|has no column annotator"),
    ("h.json", f'[{{"annotator": {"9" * 5000}}}]', "h.json cannot be read: .*; export it again"),
    ("h.jsonl", '{"annotator": "ann", "verdict": "Left is nicer"}', "say in the judge's words what 'left is nicer' means"),
    ("h.json", "[{", "h.json cannot be read: .*; export it again"),
    ("h.csv", "prompt,first_text,second_text,verdict\nq,x,y,first\n",
     "h.csv has no column annotator; its columns are prompt, first_text, second_text, verdict: name them in the"),
    ("h.csv", "prompt_id,first,second,annotator,verdict\np,x,y,ann,first\n", r"can be used \(1 without texts\)"),
])  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, name, text, message):
    path = written(tmp_path, text, name=name)
    with pytest.raises(ValueError, match=message):
        read_verdicts("people", path, SAMPLES)
    with pytest.raises(ValueError, match=message):
        check_verdicts(path, VerdictForm())


def test_json_lines_are_read_by_that_name_too(tmp_path):
    lines = "\n".join(json.dumps(row(who=who)) for who in ("ann", "ben"))
    assert read_verdicts("people", written(tmp_path, lines, name="h.json"), SAMPLES).counts.used == 2


def test_a_table_may_hold_long_texts(tmp_path):
    """Longer than a cell that csv takes unless it is told."""
    long = "So, " * 50_000
    table = f"prompt,first_text,second_text,annotator,verdict\n{ASKED},{'x' * 200_000},bad,ann,first\n"
    judge = read_verdicts("people", written(tmp_path, table, name="h.csv"), sampled("x" * 200_000, "bad", long))
    assert judge.counts.used == 1


@pytest.mark.parametrize("word", ["Response A", "candidate 1", "Option_A", "Assistant A"])
def test_a_noun_before_the_letter_says_the_same(tmp_path, word):
    assert judged(tmp_path, row(verdict=word)).compare(prompt(0), "good", "bad", key="").p_first == 1.0


def test_a_column_that_params_name_and_no_row_has_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no column better; its columns are prompt, first_text, second_text, a"):
        judged(tmp_path, row(), columns={"verdict": "better"})


def test_a_file_other_than_the_one_stated_is_refused(tmp_path):
    spec = {"name": "people", "kind": "human", "file": str(written(tmp_path, by_id())), "sha256": "0",
            "columns": {}, "words": {}, "policy": POLICY}
    with pytest.raises(ValueError, match="has sha256 ([0-9a-f]{64}), params.yaml says '0'") as error:
        make_judge(spec, SAMPLES)
    found = str(error.value).split("sha256 ")[1][:64]
    assert isinstance(make_judge({**spec, "sha256": found}, SAMPLES), HumanJudge)
