"""Other people's rows, form by form, as what they mean here; texts are made up."""

import json

import pytest

from tasks.data.marks import MARKS
from tasks.data.reading import reader_of
from tasks.data.values import BadRow
from tests.support.prepare_rows import config

ASKED = "How do I get wax off a table?"
GOOD, BAD = "Warm it, and wipe it off.", "Use a knife."
USER = {"role": "user", "content": ASKED}
BE_KIND = {"role": "system", "content": "Be kind."}
CALL = [{"type": "function", "function": {"name": "times", "arguments": {"a": 17, "b": 3}}}]


def answer(text):
    return {"role": "assistant", "content": text}


PAIR = {"prompt": [USER], "chosen": [answer(GOOD)], "rejected": [answer(BAD)]}
DEMONSTRATION = {"messages": [USER, answer(GOOD)]}


def contents(kind, *rows, columns=None, gap=1.0):
    """What the rows of one file make, row by row."""
    declared = {"demonstrations": None, "prompts": None, "preferences": None, kind: columns}
    data = config(columns=declared, pairs={"minimum_gap": gap}).data
    return [reason_or(source) for source in reader_of(rows, kind, data).sources(rows)]


def reason_or(source):
    return source.bad.full if source.bad else list(source.contents)


def pair(*rows, **more):
    (made,) = contents("preferences", *rows, **more)
    return made


# --- prompts that are repeated ---


@pytest.mark.parametrize("prompt", [ASKED, [USER], [BE_KIND, USER], None], ids=["text", "list", "system", "none"])
def test_a_prompt_that_the_conversations_repeat_is_said_once(prompt):
    """UltraFeedback's binarized form, its prompt a text, a list, with a system turn, or in the conversations alone."""
    row = {"prompt": prompt, "chosen": [USER, answer(GOOD)], "rejected": [USER, answer(BAD)], "score_chosen": 8.5}
    expected = [BE_KIND, USER] if isinstance(prompt, list) and len(prompt) == 2 else [USER]
    assert pair(row) == [{**PAIR, "prompt": expected}]
    assert contents("demonstrations", row) == [[{"messages": [*expected, answer(GOOD)]}]]
    assert contents("prompts", row) == [[{"prompt": expected}]]


def test_a_prompt_and_a_completion_that_repeats_it():
    for prompt in (ASKED, [USER]):
        row = {"prompt": prompt, "completion": [USER, answer(GOOD)]}
        assert contents("demonstrations", row) == [[DEMONSTRATION]]
        assert contents("prompts", row) == [[{"prompt": [USER]}]]


def test_a_prompt_that_is_the_last_question_of_the_conversation():
    before = [{"role": "user", "content": "Hello"}, answer("Hello!")]
    row = {"prompt": ASKED, "chosen": [*before, USER, answer(GOOD)], "rejected": [*before, USER, answer(BAD)]}
    assert pair(row) == [{**PAIR, "prompt": [*before, USER]}]


def test_a_prompt_that_is_nowhere_in_the_conversation_is_refused():
    row = {"prompt": "Something else", "chosen": [USER, answer(GOOD)], "rejected": [USER, answer(BAD)]}
    assert "the prompt is neither the beginning of the conversation" in pair(row)


# --- marks of who speaks ---

HH_PROMPT = f"\n\nHuman: {ASKED}\n\nAssistant:"
CHATML_PROMPT = f"<|im_start|>user\n{ASKED}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("row", [
    {"chosen": f"{HH_PROMPT} {GOOD}", "rejected": f"{HH_PROMPT} {BAD}"},
    {"prompt": None, "chosen": f"{HH_PROMPT} {GOOD}", "rejected": f"{HH_PROMPT} {BAD}"},
    {"prompt": HH_PROMPT, "chosen": f" {GOOD}", "rejected": f" {BAD}"},
    {"prompt": HH_PROMPT, "chosen": f"{HH_PROMPT} {GOOD}", "rejected": f"{HH_PROMPT} {BAD}"},
    {"prompt": CHATML_PROMPT, "chosen": f"{GOOD}<|im_end|>\n", "rejected": f"{BAD}<|im_end|>"},
    {"chosen": f"{CHATML_PROMPT}{GOOD}<|im_end|>\n", "rejected": f"{CHATML_PROMPT}{BAD}<|im_end|>\n"},
    {"chosen": f"### Human: {ASKED}\n### Assistant: {GOOD}", "rejected": f"### Human: {ASKED}\n### Assistant: {BAD}"},
    {"chosen": f"### Human: {ASKED}### Assistant: {GOOD}", "rejected": f"### Human: {ASKED}### Assistant: {BAD}"},
    {"chosen": json.dumps([USER, answer(GOOD)]), "rejected": json.dumps([USER, answer(BAD)])},
    {"prompt": json.dumps([USER]), "chosen": json.dumps([answer(GOOD)]), "rejected": json.dumps([answer(BAD)])},
], ids=["hh", "null-prompt", "hh-prompt", "hh-repeated", "chatml-prompt", "chatml", "guanaco-lines", "guanaco", "json",
        "json-prompt"])
def test_a_file_of_dialogues_written_with_marks(row):
    assert contents("preferences", row, row) == [[PAIR], [PAIR]]
    assert contents("demonstrations", row) == [[DEMONSTRATION]]
    assert contents("prompts", row) == [[{"prompt": [USER]}]]


def test_json_that_only_some_rows_have_is_text():
    """An answer may be JSON of messages where a row was asked for just that."""
    written = json.dumps([USER])
    rows = [{"prompt": ASKED, "completion": text} for text in (written, GOOD)]
    assert contents("demonstrations", *rows) == [[{"messages": [USER, answer(written)]}], [DEMONSTRATION]]


CODE = "    if a:\n        return b"


@pytest.mark.parametrize("row", [
    {"prompt": HH_PROMPT, "completion": f" {CODE}"}, {"prompt": f"{HH_PROMPT} ", "completion": CODE},
    {"text": f"{HH_PROMPT} {CODE}\n\n"}, {"text": f"{HH_PROMPT}\n{CODE}"},
    {"text": f"{CHATML_PROMPT}{CODE}<|im_end|>\n"}, {"prompt": CHATML_PROMPT, "completion": f"{CODE}<|im_end|>\n"},
    {"text": f"### Human: {ASKED}### Assistant: {CODE}"},
], ids=["hh-prompt", "hh-blank", "hh", "hh-line", "chatml", "chatml-prompt", "guanaco"])
def test_an_indented_answer_between_marks_keeps_its_indentation(row):
    assert contents("demonstrations", row) == [[{"messages": [USER, answer(CODE)]}]]


def test_marks_that_only_some_rows_have_are_text():
    quoting = {"prompt": HH_PROMPT, "chosen": GOOD, "rejected": BAD}
    plain = {"prompt": ASKED, "chosen": GOOD, "rejected": BAD}
    assert contents("preferences", quoting, plain) == [[{**PAIR, "prompt": [{**USER, "content": HH_PROMPT}]}], [PAIR]]
    declared = contents("preferences", quoting, plain, columns={"marks": "hh"})
    assert declared[0] == [PAIR] and "its text has no marks of who speaks" in declared[1]


def test_marks_inside_a_message_are_text():
    quoted = {"role": "user", "content": HH_PROMPT}
    row = {"prompt": [quoted], "chosen": [answer(GOOD)], "rejected": [answer(BAD)]}
    assert contents("preferences", row, columns={"marks": "hh"}) == [[{**PAIR, "prompt": [quoted]}]]


def test_what_stands_before_the_first_mark_is_the_systems():
    row = {"chosen": f"Be kind.{HH_PROMPT} {GOOD}", "rejected": f"Be kind.{HH_PROMPT} {BAD}"}
    assert pair(row) == [{**PAIR, "prompt": [BE_KIND, USER]}]


def test_an_answer_that_goes_on_with_the_user_is_refused():
    row = {"prompt": HH_PROMPT, "chosen": f" {GOOD}\n\nHuman: And then?", "rejected": f" {BAD}"}
    assert "an answer goes on with turns of its own" in pair(row)


def test_a_dialogue_of_several_turns():
    turns = MARKS["hh"].parse("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d")
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]  # fmt: skip


def test_marks_that_begin_with_the_second_turn_are_declared():
    """HelpSteer2 writes only dialogues of several turns with marks, so not all rows have them."""
    several = "Hello\n<extra_id_1>Assistant\nHello!\n<extra_id_1>User\n" + ASKED
    rows = [{"prompt": prompt, "response_1": GOOD, "response_2": BAD, "preference_strength": -1}
            for prompt in (several, ASKED)]  # fmt: skip
    before = [{"role": "user", "content": "Hello"}, answer("Hello!")]
    assert contents("preferences", *rows, columns={"marks": "nemo"}) == [[{**PAIR, "prompt": [*before, USER]}], [PAIR]]


# --- forms ---

@pytest.mark.parametrize(("row", "system"), [
    ({"system": "Be kind.", "prompt": ASKED, "chosen": GOOD, "rejected": BAD}, True),
    ({"system": "Be kind.", "question": ASKED, "chosen": GOOD, "rejected": BAD}, True),
    ({"system": "", "input": ASKED, "chosen": GOOD, "rejected": BAD, "status": "tie"}, False),
    ({"instruction": ASKED, "input": "", "chosen": GOOD, "rejected": BAD}, False),
    ({"instruction": ASKED, "chosen_response": GOOD, "rejected_response": BAD}, False),
    ({"question": ASKED, "response_j": GOOD, "response_k": BAD, "qid": 3}, False),
    ({"conversations": [{"from": "human", "value": ASKED}], "chosen": {"from": "gpt", "value": GOOD},
      "rejected": {"from": "gpt", "value": BAD}}, False),
    ({"prompt": ASKED, "response_0": BAD, "response_1": GOOD, "better_response_id": 1, "safer_response_id": 0}, False),
    ({"prompt": ASKED, "response_1": BAD, "response_2": GOOD, "preference_strength": 2}, False),
    ({"context": [USER], "response1": GOOD, "response2": BAD, "overall_preference": -1}, False),
    ({"history": ASKED, "human_ref_A": BAD, "human_ref_B": GOOD, "score_A": 3, "score_B": 30, "labels": 0}, False),
    ({"question": {"dataset": "x", "full_text": ASKED}, "answer_0": GOOD, "answer_1": BAD, "score_0": 1.0,
      "score_1": -1.0}, False),
    ({"info": {"post": ASKED}, "summaries": [{"text": BAD}, {"text": GOOD}], "choice": 1}, False),
    ({"conversation_a": [USER, answer(GOOD)], "conversation_b": [USER, answer(BAD)], "winner": "model_a"}, False),
    ({"instruction": ASKED, "completions": [{"response": BAD, "overall_score": 2.0},
                                            {"response": GOOD, "overall_score": "8"}]}, False),
    ({"prompt": f"{HH_PROMPT} ", "answers": [{"answer": GOOD, "rank": 1.0}, {"answer": BAD, "rank": 4.0}]}, False),
    ({"question": ASKED, "answers": [{"text": BAD, "pm_score": 1}, {"text": GOOD, "pm_score": 4}]}, False),
], ids=["truthy", "orca", "argilla-orca", "alpaca", "math", "stack-paired", "llama-factory", "saferlhf", "helpsteer2",
        "helpsteer3", "shp", "webgpt", "summaries", "arena", "ultrafeedback", "nectar", "stack"])  # fmt: skip
def test_a_preference_of_a_public_form(row, system):
    prompt = [BE_KIND, USER] if system else [USER]
    assert pair(row) == [{**PAIR, "prompt": prompt}]
    assert contents("prompts", row) == [[{"prompt": prompt}]]
    assert contents("demonstrations", row) == [[{"messages": [*prompt, answer(GOOD)]}]]


TABLE = f"{ASKED}\n\nThe table is oak."


@pytest.mark.parametrize(("row", "question", "system"), [
    ({"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": GOOD, "weight": 1.0}]},
     ASKED, False),
    ({"system_prompt": "Be kind.",
      "conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": GOOD}]}, ASKED, True),
    ({"conversation": [{"input": ASKED, "output": GOOD}]}, ASKED, False),
    ({"prompt": ASKED, "prompt_id": "x", "messages": [USER, answer(GOOD)]}, ASKED, False),
    ({"instruction": ASKED, "input": "The table is oak.", "output": GOOD, "text": "Below is …"}, TABLE, False),
    ({"instruction": ASKED, "input": "", "output": GOOD}, ASKED, False),
    ({"instruction": ASKED, "context": "The table is oak.", "response": GOOD}, TABLE, False),
    ({"system_prompt": "Be kind.", "question": ASKED, "response": GOOD}, ASKED, True),
    ({"question": ASKED, "answer": GOOD}, ASKED, False),
    ({"inputs": ASKED, "targets": GOOD}, ASKED, False),
    ({"messages": None, "prompt": ASKED, "completion": GOOD}, ASKED, False),
    ({"messages": [{"role": "User", "content": [{"type": "text", "text": ASKED}]}, {"role": "GPT", "content": GOOD}]},
     ASKED, False),
    ({"messages": json.dumps([USER, answer(GOOD)])}, ASKED, False),
    ({"text": f"### Human: {ASKED}\n### Assistant: {GOOD}"}, ASKED, False),
    ({"conversations": {"from": ["human", "gpt"], "value": [ASKED, GOOD], "weight": [None, 1.0]}}, ASKED, False),
], ids=["sharegpt", "openhermes", "capybara", "ultrachat", "alpaca", "alpaca-short", "dolly", "openorca", "gsm8k",
        "aya", "null-columns", "parts", "json-text", "guanaco", "sequence"])  # fmt: skip
def test_a_demonstration_of_a_public_form(row, question, system):
    prompt = [*([BE_KIND] if system else []), {**USER, "content": question}]
    assert contents("demonstrations", row) == [[{"messages": [*prompt, answer(GOOD)]}]]
    assert contents("prompts", row) == [[{"prompt": prompt}]]


@pytest.mark.parametrize("row", [
    {"prompt": ASKED, "completion": BAD, "label": False},
    {"prompt": [USER], "completion": [answer(BAD)], "label": True},
    {"messages": [USER, answer(BAD)], "label": False},
    {"instruction": ASKED, "output": BAD, "kto_tag": False},
    {"prompt": ASKED, "response": BAD, "is_safe": False},
], ids=["kto", "kto-list", "llama-factory", "llama-factory-alpaca", "beavertails"])
def test_unpaired_feedback_is_refused_by_name(row):
    for kind in ("demonstrations", "preferences"):
        assert contents(kind, row)[0].startswith("it is unpaired feedback (one answer with a mark: KTO's form)")
    assert contents("prompts", row) == [[{"prompt": [USER]}]]


@pytest.mark.parametrize("history", [[["Hi.", "Hello!"]], '[["Hi.", "Hello!"]]'], ids=["list", "json-text"])
def test_what_was_said_before_an_instruction_is_kept(history):
    """LLaMA-Factory's Alpaca form: it was left out in silence."""
    prompt = [{"role": "user", "content": "Hi."}, answer("Hello!"), {**USER, "content": f"{ASKED}\n\nIt is oak."}]
    question = {"instruction": ASKED, "input": "It is oak.", "history": history}
    assert contents("demonstrations", {**question, "output": GOOD}) == [[{"messages": [*prompt, answer(GOOD)]}]]
    assert contents("prompts", question) == [[{"prompt": prompt}]]
    assert pair({**question, "chosen": GOOD, "rejected": BAD}) == [{**PAIR, "prompt": prompt}]
    (with_system,) = contents("demonstrations", {**question, "system": "Be kind.", "output": GOOD})
    assert with_system == [{"messages": [BE_KIND, *prompt, answer(GOOD)]}]
    named = {"prompt": "q", "completion": "a", "history": "before"}
    row = {"q": ASKED, "a": GOOD, "before": history}
    assert contents("demonstrations", row, columns=named) == [[{"messages": [*prompt[:2], USER, answer(GOOD)]}]]


@pytest.mark.parametrize("history", ["before", [["one"]], [["a", "b", "c"]], {"a": "b"}])
def test_a_history_of_another_shape_is_refused(history):
    (reason,) = contents("demonstrations", {"instruction": ASKED, "output": GOOD, "history": history})
    assert reason == "history must be a list of messages, or of pairs of a question and its answer"


@pytest.mark.parametrize("row", [
    {"prompt": ASKED, "completion": GOOD},
    {"messages": [USER, answer(GOOD)]},
    {"instruction": ASKED, "output": GOOD},
    {"prompt": ASKED, "chosen": GOOD, "rejected": BAD},
], ids=["completion", "messages", "alpaca", "pairs"])
def test_a_column_that_is_part_of_what_is_said_is_never_left_out_in_silence(row):
    """TRL's and LLaMA-Factory's pictures and sounds, and calls and reasoning that have a column of their own."""
    kind = "preferences" if "chosen" in row else "demonstrations"
    refusals = {
        "it has pictures or sounds": {"images": ["a.png"], "image": b"a", "audio": {"path": "a"}},
        "its column {} is part of what is said, and is not read": {"tool_calls": CALL, "thinking": "Wax melts."},
    }
    for words, columns in refusals.items():
        for name, value in columns.items():
            (reason,) = contents(kind, {**row, name: value})
            assert reason.startswith(words.format(name))
            assert contents(kind, {**row, name: None}) == contents(kind, {**row, name: []}) == contents(kind, row)
    assert contents("prompts", {**row, "thinking": "Wax melts."}) == [[{"prompt": [USER]}]]
    assert contents("prompts", {**row, "images": ["a.png"]})[0].startswith("it has pictures or sounds")


def test_a_message_of_a_tree_is_refused_by_name():
    row = {"message_id": "a", "parent_id": None, "text": ASKED, "role": "prompter", "message_tree_id": "a"}
    assert "it is one message of a tree (OpenAssistant's form)" in contents("demonstrations", row)[0]


# --- several answers ---


def test_the_best_answer_against_each_that_is_clearly_worse():
    """Of 9, 8.5, 7 and 9 with a gap of 1: 9 (the first) beats 7 alone; the other 9 and 8.5 are tied with it."""
    scores = {"best": 9.0, "near": 8.5, "worse": 7.0, "equal": 9.0}
    row = {"prompt": ASKED, "completions": [{"response": text, "overall_score": s} for text, s in scores.items()]}
    made = pair(row)
    assert [(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in made] == [("best", "worse")]
    assert [one["rejected"][0]["content"] for one in pair(row, gap=0.5)] == ["near", "worse"]
    assert pair(row, gap=5.0) == []
    assert contents("demonstrations", row) == [[{"messages": [USER, answer("best")]}]]


@pytest.mark.parametrize("row", [
    {"conversation_a": [USER, answer(GOOD)], "conversation_b": [USER, answer(BAD)], "winner": "tie (bothbad)"},
    {"prompt": ASKED, "response_1": BAD, "response_2": GOOD, "preference_strength": 0},
    {"question": {"full_text": ASKED}, "answer_0": GOOD, "answer_1": BAD, "score_0": 0.0, "score_1": 0.0},
], ids=["arena", "helpsteer2", "webgpt"])
def test_a_tie_makes_no_comparison(row):
    assert pair(row) == []


def test_rated_rows_of_one_prompt_are_compared():
    """HelpSteer: two rows, one prompt; 4 beats 2. The other prompt has one row, so nothing to compare."""
    rows = [{"prompt": question, "response": text, "helpfulness": score, "correctness": 1}
            for question, text, score in [(ASKED, BAD, 2), (ASKED, GOOD, 4), ("Alone?", "Yes.", 0)]]  # fmt: skip
    assert contents("preferences", *rows) == [[PAIR], []]
    assert contents("demonstrations", *rows)[0] == [DEMONSTRATION]


def test_a_verdict_that_is_none_is_refused():
    row = {"conversation_a": [USER, answer(GOOD)], "conversation_b": [USER, answer(BAD)], "winner": "claude"}
    assert "which answer is better is not said" in pair(row)
    row = {"prompt": ASKED, "response_0": BAD, "response_1": GOOD, "better_response_id": 2}
    assert "which answer is better is not said" in pair(row)


# --- what stands beside a conversation, in columns of its own ---

BEFORE = [{"role": "user", "content": "Hello"}, answer("Hello!")]
TOOL = {"name": "times", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(("row", "columns", "right"), [
    ({"instruction": ASKED, "input": "", "output": GOOD, "history": [["Hello", "Hello!"]], "system": "Be kind."}, None,
     {"messages": [BE_KIND, *BEFORE, USER, answer(GOOD)]}),
    ({"prompt": ASKED, "response": GOOD, "history": BEFORE}, None, {"messages": [*BEFORE, USER, answer(GOOD)]}),
    ({"context": "The table is oak.", "question": ASKED, "answer": GOOD}, None,
     {"messages": [{**USER, "content": TABLE}, answer(GOOD)]}),
    ({"question": ASKED, "answer": GOOD, "passages": ["The table", "is oak."]}, {"context": "passages"},
     {"messages": [{**USER, "content": f"{ASKED}\n\nThe table\n\nis oak."}, answer(GOOD)]}),
    ({"messages": [USER, answer(GOOD)], "persona": "Be kind."}, {"system": "persona"},
     {"messages": [BE_KIND, USER, answer(GOOD)]}),
    ({"messages": [USER, answer(GOOD)], "system": "mt5", "image": "a.png"}, {"system": None, "media": None},
     {"messages": [USER, answer(GOOD)]}),
    ({"messages": [USER, answer(GOOD)], "functions": [TOOL]}, None,
     {"messages": [USER, answer(GOOD)], "tools": [{"type": "function", "function": TOOL}]}),
    ({"messages": [USER, answer(GOOD)], "images": [], "history": None, "context": " "}, None, DEMONSTRATION),
], ids=["llama-factory", "history", "rag", "declared-context", "declared-system", "left-out", "functions", "empty"])
def test_columns_beside_a_conversation(row, columns, right):
    """Llama-Factory's `history`, a passage that the question is about, OpenAI's older `functions`: each was dropped."""
    assert contents("demonstrations", row, columns=columns) == [[right]]


@pytest.mark.parametrize(("row", "words"), [
    ({"image": "a.png", "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": GOOD}]},
     "it has pictures or sounds beside its text"),
    ({"messages": [USER, answer(GOOD)], "images": [{"bytes": "x"}]}, "data.columns: {media: null}"),
    ({"messages": [USER, answer(GOOD)], "context": "The table is oak."}, "data.columns: {context: null}"),
    ({"text": f"{HH_PROMPT} {GOOD}", "history": [["a", "b"]]}, "data.columns: {history: null}"),
    ({"prompt": ASKED, "completion": GOOD, "history": "a"}, "history must be a list of messages, or of pairs"),
    ({"prompt": ASKED, "completion": GOOD, "context": {"a": 1}}, "the context must be a text"),
], ids=["llava", "images", "context", "marks", "history", "structure"])
def test_what_has_no_place_in_a_conversation_is_refused_by_name(row, words):
    assert words in contents("demonstrations", row)[0]


# --- columns that params name ---


@pytest.mark.parametrize(("columns", "row"), [
    ({"prompt": "q", "chosen": "yes", "rejected": "no"}, {"q": ASKED, "yes": GOOD, "no": BAD}),
    ({"prompt": "item.q", "answers": "item.replies.text", "scores": "item.replies.stars"},
     {"item": {"q": ASKED, "replies": [{"text": BAD, "stars": 1}, {"text": GOOD, "stars": 5}]}}),
    ({"prompt": "q", "answers": ["a", "b"], "preference": "side"}, {"q": ASKED, "a": GOOD, "b": BAD, "side": -1}),
    ({"form": "orca-pairs", "chosen": "good"}, {"question": ASKED, "good": GOOD, "rejected": BAD}),
    ({"prompt": "q", "chosen": "yes", "rejected": "no", "system": None},
     {"q": ASKED, "yes": GOOD, "no": BAD, "system": "mt5"}),
    ({"prompt": None, "chosen": "chosen", "rejected": "rejected"},
     {"prompt": "a note", "chosen": [USER, answer(GOOD)], "rejected": [USER, answer(BAD)]}),
], ids=["names", "paths", "columns", "form", "no-system", "no-prompt"])  # fmt: skip
def test_columns_that_params_name(columns, row):
    assert pair(row, columns=columns) == [PAIR]


@pytest.mark.parametrize(("kind", "row", "words"), [
    ("preferences", {"query": ASKED, "better": GOOD, "worse": BAD},
     "its columns are query, better, worse; say in params which is which, for example "
     "data.columns.preferences: {prompt: query, chosen: better, rejected: worse}"),
    ("demonstrations", {"frage": ASKED, "reply": GOOD},
     "data.columns.demonstrations: {prompt: frage, completion: reply}"),
    ("demonstrations", {"turns": [{"who": "a"}]}, "data.columns.demonstrations: {messages: turns}"),
    ("prompts", {"title": ASKED, "n": 3}, "data.columns.prompts: {prompt: title}"),
    ("preferences", {"a": 1}, "data.columns.preferences: {prompt: PROMPT_COLUMN, chosen: CHOSEN_COLUMN"),
])  # fmt: skip
def test_an_unknown_form_is_answered_with_a_line_to_copy(kind, row, words):
    assert words in contents(kind, row)[0]


@pytest.mark.parametrize(("columns", "words"), [
    ({"promt": "q"}, "'promt' is no field of ours"),
    ({"prompt": ["a", "b"]}, "prompt is one column"),
    ({"form": "nonsense"}, "'nonsense' is no data form; known are 'oasst-tree'"),
    ({"marks": "nonsense"}, "no marks 'nonsense' that is known here; known are hh, chatml"),
])
def test_columns_that_cannot_be(columns, words):
    with pytest.raises(ValueError, match=words):
        contents("preferences", {"prompt": ASKED}, columns=columns)


# --- turns ---


@pytest.mark.parametrize(("messages", "words"), [
    ([USER, answer("One."), answer("Two.")], "it ends with two assistant's turns"),
    ([USER, {"role": "narrator", "content": "x"}, answer(GOOD)], "a role is none of system, developer.*: 'narrator'"),
    ([USER, {"role": "assistant", "content": [{"type": "image_url"}]}], "a part that is no text.*'image_url'"),
    ([USER, {**answer(GOOD), "reasoning_content": "Hm."}], "the answer has reasoning_content"),
    ([USER, {**answer(GOOD), "thinking": "Hm."}], "the answer has thinking"),
])
def test_turns_that_are_refused(messages, words):
    (reason,) = contents("demonstrations", {"messages": messages})
    with pytest.raises(BadRow, match=words):
        raise BadRow(reason)


def test_what_is_said_beside_the_text_is_kept_and_notes_about_it_are_not():
    calls = {"role": "assistant", "content": None, "tool_calls": CALL, "reasoning_content": None, "weight": 0}
    result = {"role": "function", "name": "times", "content": "51", "timestamp": 3}
    row = {"messages": [USER, calls, result, answer("It is 51.")], "tools": json.dumps(CALL)}
    assert contents("demonstrations", row) == [[{
        "messages": [USER, {"role": "assistant", "content": "", "tool_calls": CALL},
                     {"role": "tool", "name": "times", "content": "51"}, answer("It is 51.")],
        "tools": CALL,
    }]]  # fmt: skip


def test_two_system_prompts_that_differ_are_refused():
    row = {"system": "Be terse.", "messages": [BE_KIND, USER, answer(GOOD)]}
    assert "a system column and another system turn" in contents("demonstrations", row)[0]
    assert contents("demonstrations", {**row, "system": "Be kind."}) == [[{"messages": [BE_KIND, USER, answer(GOOD)]}]]


def test_messages_without_an_answer_are_a_prompt():
    assert contents("prompts", {"messages": [BE_KIND, USER]}) == [[{"prompt": [BE_KIND, USER]}]]
