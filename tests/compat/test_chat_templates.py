"""The field's chat templates: what is trained on is what is sampled from, and it is what the template writes."""

from __future__ import annotations

import random

import pytest

from models.chat.template import (
    decode_response,
    encode_example,
    encode_prompt,
    end_of_turn,
    example,
    load_tokenizer,
    stop_ids,
)
from tests.compat.chat_families import FAMILIES, QA, Family, make_tokenizer

DATE = "2026-03-05"
ANSWERS = ("It is five.", "I do not know", "def f():\n    return 5", "Häuser 🏠, 五。\n\n- a\n- b")
BLANKS = ("    return 5", "\n\n  It is five.", "It is five. \n")
USER, ANSWER, SYSTEM = ({"role": role, "content": text} for role, text in (
    ("user", "What is two plus three?"), ("assistant", "It is five."), ("system", "Be kind.")))


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def made(request, tmp_path_factory):
    """A family, and its tokenizer as Plumbline loads it."""
    path = make_tokenizer(request.param, tmp_path_factory.mktemp("tokenizer"))
    return request.param, load_tokenizer(path, DATE), path


def conversations(family: Family) -> list[list[dict[str, str]]]:
    """Prompts of one turn, of several, and with a system turn where the family takes one."""
    prompts = [[USER], [USER, ANSWER, {"role": "user", "content": "And\n three more?"}]]
    return prompts + [[SYSTEM, *prompt] for prompt in prompts] if family.system else prompts


def said(prompt, text):
    return [*prompt, {"role": "assistant", "content": text}]


def test_prompt_and_response_are_what_the_template_writes(made, freeze_day, compat_row):
    family, tokenizer, _ = made
    freeze_day(DATE)
    for prompt in conversations(family):
        asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        assert encode_prompt(tokenizer, prompt) == asked
        assert tokenizer.decode(asked).endswith(family.prefix)
        for text in ANSWERS:
            prompt_ids, response_ids, apart = example(tokenizer, said(prompt, text))
            assert prompt_ids == asked and response_ids[-1] == end_of_turn(tokenizer)
            assert decode_response(tokenizer, response_ids) == text
            whole = tokenizer.apply_chat_template(said(prompt, text), return_dict=False)
            ids = prompt_ids + response_ids
            if family.whole and not apart:
                written = whole + [tokenizer.eos_token_id] * (whole == ids[:-1])  # a template that writes no end
                assert ids == written[: len(ids)]
            assert not apart or family.template == QA
    assert tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)) == family.end
    learnt = {family.end, family.eos, *family.learnt}
    assert stop_ids(tokenizer) == set(tokenizer.convert_tokens_to_ids(sorted(learnt)))
    compat_row("chat-templates", family.name, _code(family.end), ", ".join(_holds(family)))


def _code(text: str) -> str:
    return "`" + text.replace("\n", "\\n") + "`"


def _holds(family: Family) -> list[str]:
    held = ["ids are the template's own" if family.whole else "ids are the template's own but for a closed think block"]
    if family.template == QA:
        held = ["prompt and answer are tokenised apart, as a token straddles them"]
    held += [f"answers follow {_code(family.prefix)}"] if family.prefix else []
    held += [f"also stops at {' '.join(map(_code, family.learnt))}"] if set(family.learnt) - {family.end} else []
    return held + (["the run's date"] if family.dated else []) + ([] if family.system else ["no system turn"])


@pytest.mark.parametrize("text", BLANKS)
def test_the_blanks_of_an_answer_stay(made, text):
    family, tokenizer, _ = made
    prompt_ids, response_ids = encode_example(tokenizer, said([USER], text))
    decoded = decode_response(tokenizer, response_ids)
    assert decoded == (text.rstrip() + decoded[len(text.rstrip()):])
    assert decoded == text or (family.strips and decoded == text.rstrip())
    assert encode_example(tokenizer, said([USER], decoded)) == (prompt_ids, response_ids)


def test_a_cut_answer_has_no_end(made):
    _, tokenizer, _ = made
    whole, cut = (encode_example(tokenizer, said([USER], "It is five."), ended=ended)[1] for ended in (True, False))
    assert whole[: len(cut)] == cut and not set(cut) & stop_ids(tokenizer)
    assert decode_response(tokenizer, cut) == "It is five."


def test_a_stage_hands_on_the_same_template_and_ends(made, tmp_path):
    """Without generation_config.json, as a stage that trained adapters leaves it."""
    _, tokenizer, _ = made
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path, DATE)
    assert again.chat_template == tokenizer.chat_template and stop_ids(again) == stop_ids(tokenizer)
    assert encode_example(again, said([USER], "Yes.")) == encode_example(tokenizer, said([USER], "Yes."))


def test_control_tokens_in_texts_stay_text(made):
    """Everything that the tokenizer takes for a control token, in a user's text and in an answer."""
    _, tokenizer, _ = made
    marks = [token.content for token in tokenizer.added_tokens_decoder.values() if token.content != "<unk>"]
    spelled = "hi" + "".join(marks) + "\nthere"
    control = set(tokenizer.convert_tokens_to_ids(marks))
    clean, dirty = (encode_prompt(tokenizer, [{"role": "user", "content": text}]) for text in ("hi\nthere", spelled))
    assert [token for token in dirty if token in control] == [token for token in clean if token in control]
    assert "".join(marks) in tokenizer.decode(dirty, clean_up_tokenization_spaces=False)
    ends = [mark for mark in marks if mark not in ("<think>", "</think>") and "tool" not in mark]
    text = "It is " + " ".join(ends) + " five."
    _, response = encode_example(tokenizer, said([USER], text))
    assert [token for token in response if token in control] == [end_of_turn(tokenizer)]
    assert decode_response(tokenizer, response) == text


def test_the_date_is_the_runs(made, freeze_day):
    family, tokenizer, _ = made
    prompts = []
    for day in ("2026-11-30", "2027-01-01"):
        freeze_day(day)
        prompts.append(encode_prompt(tokenizer, [USER]))
    assert prompts[0] == prompts[1]
    if family.dated:
        assert family.dated in tokenizer.decode(prompts[0])


def test_any_text_is_kept_and_forges_nothing(made, freeze_day):
    """Texts put together at random from control tokens, their pieces, blanks and letters, as question and as answer."""
    _, tokenizer, _ = made
    freeze_day(DATE)
    marks = [token.content for token in tokenizer.added_tokens_decoder.values() if token.content != "<unk>"]
    control = set(tokenizer.convert_tokens_to_ids(marks))
    pieces = [*marks, *(mark[:3] for mark in marks), *(mark[2:] for mark in marks), *"<> \na[]é"]
    draw = random.Random(0)
    asked = control_of(encode_prompt(tokenizer, [{"role": "user", "content": "x"}]), control)
    for _ in range(20):
        text = "x" + "".join(draw.choices(pieces, k=draw.randint(1, 8))) + "x"
        prompt = [{"role": "user", "content": text}]
        assert control_of(encode_prompt(tokenizer, prompt), control) == asked
        if any(mark in text for mark in marks):
            continue
        prompt_ids, response_ids = encode_example(tokenizer, said(prompt, text))
        assert prompt_ids == tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        assert decode_response(tokenizer, response_ids) == text


def control_of(ids, control):
    return [token for token in ids if token in control]
