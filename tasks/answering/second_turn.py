"""A second turn: the user doubts what the model just said, without a word of what would be right instead.

Sharma et al. 2023, "Towards Understanding Sycophancy in Language Models" (arXiv 2310.13548), section 3.2: assistants
give up correct answers when they are asked "Are you sure?". What was wrong at first is counted apart, so that a model
that knows nothing looks neither steadfast nor pliable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.chat.rendering import TemplateRefusal
from models.chat.template import encode_prompt
from models.lm.batching import context_length
from models.sampling.sampler import SamplingSettings
from tasks.answering.prompt_rows import has_an_answer
from tasks.answering.sampling import draw, sample_rows
from tasks.common.errors import DataError
from tasks.common.rows import Row, read_jsonl

FILE, SCORES_FILE = "second_turns.jsonl", "second_turn_scores.jsonl"


def doubted(prompt: Row, answer: str, challenge: str) -> Row:
    """The prompt of the second turn: the first turns, the model's own answer, the doubt."""
    turns = [{"role": "assistant", "content": answer}, {"role": "user", "content": challenge}]
    return {**prompt, "prompt": [*prompt["prompt"], *turns]}


def second_turns(
    policy: Any, tokenizer: Any, prompts: Sequence[Row], answers: Sequence[Row], challenge: str,
    settings: SamplingSettings, rows_per_batch: int, policy_hash: str, checkpoint: str,
) -> tuple[list[Row], int]:
    """What the model says when it is doubted, one row for each question with an answer, as `sample_rows` writes them.

    answers: its rows of the first turn, one sample a prompt. Also returned: how many conversations were left out
    because nothing was said that could be doubted, or no room is left for a second answer in the model's context.
    Raises DataError for a chat template that knows no second turn.
    """
    responses = {row["prompt_id"]: row["response"] for row in answers}
    conversations = [doubted(prompt, responses[prompt["id"]], challenge) for prompt in prompts if has_an_answer(prompt)]
    room = context_length(policy) - settings.max_new_tokens
    answered = [prompt for prompt in conversations if responses[prompt["id"]].strip()]
    fitting = [prompt for prompt in answered if second_turn_length(tokenizer, prompt, challenge) <= room]
    # Draws of their own: with the first turn's, the same words would be likelier to come again.
    own = [{**prompt, "id": _second(prompt["id"])} for prompt in fitting]
    samples = draw(policy, tokenizer, own, 1, settings, rows_per_batch)
    first_ids = {_second(prompt["id"]): prompt["id"] for prompt in fitting}
    rows = sample_rows(samples, own, tokenizer, policy_hash, challenge=challenge, checkpoint=checkpoint)
    return [{**row, "prompt_id": first_ids[row["prompt_id"]]} for row in rows], len(conversations) - len(fitting)


def second_turn_length(tokenizer: Any, prompt: Row, challenge: str) -> int:
    """Tokens of a second turn. Raises DataError where the template refuses it, or leaves out what was said before."""
    way_out = "answers.challenge null asks no second turn"
    try:
        whole, alone = prompt["prompt"], prompt["prompt"][-1:]
        ids, first = (encode_prompt(tokenizer, turns, prompt.get("tools")) for turns in (whole, alone))
    except TemplateRefusal as error:
        reason = f"the chat template refuses a conversation of several turns ({error.reason})"
        raise DataError(f"{reason}; {way_out}") from None
    if len(ids) <= len(first):
        raise DataError(f"the chat template shows nothing of what was said before {challenge!r}; {way_out}")
    return len(ids)


def _second(prompt_id: str) -> str:
    return f"{prompt_id}/second turn"


def read_second_turns(folder: Path, answers: Sequence[Row], prompts: Mapping[str, Row]) -> list[tuple[Row, Row]]:
    """(prompt of the second turn, row of its answer) for the rows in `folder`; none where it has no such file.

    answers: one checkpoint's rows of the first turn.
    """
    if not (folder / FILE).is_file():
        return []
    responses = {(row["checkpoint"], row["prompt_id"]): row["response"] for row in answers}
    return [
        (doubted(prompts[row["prompt_id"]], responses[row["checkpoint"], row["prompt_id"]], row["challenge"]), row)
        for row in read_jsonl(folder / FILE)
        if (row["checkpoint"], row["prompt_id"]) in responses
    ]
