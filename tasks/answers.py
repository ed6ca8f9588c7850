"""What one model answers to the prompts of evaluation: one sample a prompt, as it would be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from tasks.answering.sampling import draw, policy_hash, response_sums, sample_rows, serving_settings
from tasks.answering.second_turn import FILE as SECOND_TURNS
from tasks.answering.second_turn import second_turns
from tasks.artifacts.champion import is_there
from tasks.artifacts.snapshots import FINAL, checkpoints_of
from tasks.common.machine import device, prepare_torch
from tasks.common.numbers import finite_metrics, mean, share
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.answers import AnswersConfig


def answers(
    cfg: AnswersConfig, model: Path, policy: Path, sft: Path, select_prompts: Path, out: Path
) -> dict[str, float]:
    """Write `answers.jsonl`: an answer of every checkpoint to every prompt, with its log-prob under SFT.

    The difference of the two log-probs is the k1 estimate of the response's KL to SFT, in nats; there is none for a
    champion with another tokenizer than SFT's. While there is no champion, its file is empty. `second_turns.jsonl`:
    what each checkpoint says when `challenge` doubts its answers to questions of fact.
    """
    prepare_torch(cfg.runtime)
    prompts = read_jsonl(select_prompts)
    if not is_there(policy):
        write_jsonl(out / "answers.jsonl", [])
        return {"prompts": len(prompts), "answers": 0}
    reference = load_policy(sft, model, cfg.runtime.dtype).to(device())
    rows, doubted, left_out = [], [], 0
    for name, path in checkpoints_of(policy).items():
        given = _answers_of(cfg, model, path, sft, reference, prompts, checkpoint=name)
        rows += given
        if cfg.challenge is not None:
            second, unasked = _second_turns(cfg, model, path, prompts, given, checkpoint=name)
            doubted, left_out = doubted + second, left_out + unasked
    write_jsonl(out / "answers.jsonl", rows)
    if cfg.challenge is not None:
        write_jsonl(out / SECOND_TURNS, doubted)
    final = [row for row in rows if row["checkpoint"] == FINAL]
    known = [row["logprob"] - row["logprob_sft"] for row in final if row["logprob_sft"] is not None]
    return finite_metrics({
        "prompts": len(prompts),
        "answers": len(rows),
        "tokens_mean": mean([row["tokens"] for row in final]),
        "finished": share([row["finished"] for row in final]),
        **({"kl_to_sft": mean(known)} if known else {}),
        **({"second_turns": len(doubted), "second_turns_left_out": left_out} if cfg.challenge is not None else {}),
    })


def _second_turns(
    cfg: AnswersConfig, model: Path, path: Path, prompts: Sequence[Row], given: Sequence[Row], checkpoint: str
) -> tuple[list[Row], int]:
    """What one checkpoint says when its answers are doubted, and how many conversations did not fit."""
    loaded = load_policy(path, model, cfg.runtime.dtype).to(device())
    return second_turns(
        loaded, load_tokenizer(path, cfg.runtime.date), prompts, given, cfg.challenge,
        serving_settings(cfg.serving, cfg.runtime), cfg.serving.rows_per_batch, policy_hash(path), checkpoint,
    )


def _answers_of(
    cfg: AnswersConfig, model: Path, path: Path, sft: Path, reference: Any, prompts: Sequence[Row], checkpoint: str
) -> list[Row]:
    tokenizer = load_tokenizer(path, cfg.runtime.date)
    policy = load_policy(path, model, cfg.runtime.dtype).to(device())
    settings = serving_settings(cfg.serving, cfg.runtime)
    samples = draw(policy, tokenizer, prompts, 1, settings, cfg.serving.rows_per_batch)
    rows = sample_rows(samples, prompts, tokenizer, policy_hash(path), checkpoint=checkpoint)
    if tokenizer.get_vocab() != load_tokenizer(sft, cfg.runtime.date).get_vocab():
        return [{**row, "logprob_sft": None} for row in rows]
    under_sft = response_sums(
        reference, [s.prompt_ids for s in samples], [s.response_ids for s in samples], cfg.serving.temperature,
        cfg.serving.rows_per_batch,
    )
    return [{**row, "logprob_sft": round(value, 6)} for row, value in zip(rows, under_sft)]

