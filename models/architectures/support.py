"""Whether an architecture can do what a run asks of it, known from its config alone, before anything is paid for.

A miniature of the architecture (`miniature.py`) goes the ways of the stages: what comes out must be what each row gives
by itself. So nothing here knows an architecture by name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedConfig, PreTrainedModel

from models.architectures.miniature import miniature
from models.lm.batching import backbone_of
from models.lm.loading import load_policy
from models.lm.logprobs import batch_logprobs, join, response_logprobs
from models.lm.precision import products_in, round_weights
from models.lm.weights import check_causal
from models.ppo.value import SharedValue, ValueModel, check_critic
from models.reward.model import load_reward_model, reward_model_from_policy
from models.reward.scoring import score
from models.sampling.sampler import SamplingSettings, sample

# Lengths on either side of a miniature's windows and of the length at which its positions change.
PROMPTS = [[3, 4], [5, 6, 7, 8, 9, 10, 11, 12, 13], [14] * 3 + [15, 16, 17, 18] * 3, [19, 20, 21]]
RESPONSES = [[5, 9, 4], [8, 6, 3, 2, 11, 7], [12, 4, 33], [6]]
ROWS = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES)]
NEW_TOKENS = 5
TOLERANCE = 1e-3  # nats, and units of the score
_REASONS: dict[tuple[type, str, str], str | None] = {}  # by config and use: a preflight asks again and again


def unsupported(config: PreTrainedConfig, use: str) -> str | None:
    """Why a model of this config cannot be used, in one line with the way out; None if it can.

    Args:
        use: "causal" (log-probs, which SFT and DPO are made of), "sample", "reward", "ppo", "package", or "bfloat16"
            (all of these under runtime.dtype bfloat16).

    An architecture of which no miniature can be made is not refused here; the stages then find out by themselves.
    """
    name = (config.architectures or [type(config).__name__])[0]
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or getattr(config, "is_encoder_decoder", False):
        return f"{name} is no causal language model of transformers; set model.path to one (GPT, Llama, Qwen …)"
    purpose, trial = TRIALS[use]
    key = (type(config), config.to_json_string(use_diff=False), use)
    if key not in _REASONS:
        model = miniature(config)
        _REASONS[key] = None if model is None else _failure(trial, model)
    if _REASONS[key] is None:
        return None
    return f"{name} cannot be used for {purpose}: {_REASONS[key]}; set model.path to a model of another architecture"


def _failure(trial: Callable[[PreTrainedModel], None], model: PreTrainedModel) -> str | None:
    """What a trial says against the model, in one line; the random state stays as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            trial(model)
    except MemoryError:
        raise  # says nothing about the architecture
    except Exception as error:  # whatever an architecture says to what it cannot do
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return " ".join(text.replace(";", ",").split())[:300]  # the way out begins at the first semicolon
    return None


def _agree(batched: Tensor, alone: Tensor, what: str) -> None:
    difference = float((batched - alone).abs().max())
    if not difference <= TOLERANCE:
        raise ValueError(f"{what} in a batch differ from those of each row alone by up to {difference:.3g}")


def _logits(model: nn.Module, row: list[int]) -> Tensor:
    """(time, vocabulary) of one row by itself."""
    return model(input_ids=torch.tensor([row]), use_cache=False).logits[0].float()


@torch.no_grad()
def _log_probs(model: PreTrainedModel) -> None:
    check_causal(model, Path("a small model of this architecture"))
    logprobs = response_logprobs(model, PROMPTS, RESPONSES, 1.0).logprobs
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES)):
        distribution = torch.log_softmax(_logits(model, [*prompt, *response[:-1]])[len(prompt) - 1:], -1)
        alone = distribution.gather(1, torch.tensor(response)[:, None]).squeeze(1)
        _agree(logprobs[row, : len(response)], alone, "log-probs")


@torch.no_grad()
def _samples(model: PreTrainedModel) -> None:
    """Greedy responses of a batch are those that transformers generates from each prompt alone."""
    rows = [(str(place), prompt) for place, prompt in enumerate(PROMPTS)]
    settings = SamplingSettings(0.0, NEW_TOKENS, 0)
    for drawn in sample(model, rows, 2, settings, stop_ids=frozenset(), rows_per_batch=len(rows)):
        prompt = torch.tensor([drawn.prompt_ids])
        made = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW_TOKENS, do_sample=False,
            eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        alone = torch.log_softmax(torch.cat(made.logits).float(), -1).max(-1).values
        _agree(torch.tensor(drawn.logprobs), alone, "log-probs of samples")


def _scores(model: PreTrainedModel) -> None:
    reward = reward_model_from_policy(model)
    with torch.no_grad():
        outputs = (backbone_of(model)(input_ids=torch.tensor([row]), use_cache=False) for row in ROWS)
        alone = torch.stack([output.last_hidden_state[0, -1] for output in outputs]) @ reward.score.weight[0]
    _agree(score(reward, ROWS, len(ROWS)), alone, "scores")
    with tempfile.TemporaryDirectory() as folder:
        reward.save_pretrained(folder)
        _agree(score(load_reward_model(Path(folder)), ROWS, len(ROWS)), alone, "scores of the saved model")


def _learning(model: PreTrainedModel) -> None:
    batch = join(PROMPTS, RESPONSES)
    for critic in (ValueModel.from_reward_model(reward_model_from_policy(model)), SharedValue(model)):
        check_critic(model, critic)
        loss = batch_logprobs(model, batch, 1.0).logprobs.sum() + critic(batch).sum()
        loss.backward()
        if not torch.isfinite(loss):
            raise ValueError("the losses of PPO are not finite")


@torch.no_grad()
def _reload(model: PreTrainedModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = load_policy(Path(folder))
        for row in ROWS:
            _agree(_logits(again, row), _logits(model, row), "logits of the saved model")


def _in_bfloat16(model: PreTrainedModel) -> None:
    """Trained with products in bfloat16, then rounded and used: nothing fails, all is finite. How far rounding moves
    the numbers is for the weights to say, and a miniature has none."""
    with products_in(torch.bfloat16, torch.device("cpu")):
        _learning(model)
    rounded = round_weights(model, torch.bfloat16)
    rows = [(str(place), prompt) for place, prompt in enumerate(PROMPTS)]
    settings = SamplingSettings(1.0, NEW_TOKENS, 0)
    drawn = sample(rounded, rows, 1, settings, stop_ids=frozenset(), rows_per_batch=len(rows))
    with torch.no_grad():
        again = response_logprobs(rounded, PROMPTS, [one.response_ids for one in drawn], 1.0).logprobs
    scores = score(reward_model_from_policy(rounded), ROWS, len(ROWS))
    results = {"samples": torch.tensor([one.logprobs for one in drawn]), "log-probs": again, "scores": scores}
    if odd := [what for what, values in results.items() if not torch.isfinite(values).all()]:
        raise ValueError(f"its {odd[0]} are not finite in bfloat16")


# What the use is called, and how it is tried.
TRIALS: dict[str, tuple[str, Callable[[PreTrainedModel], None]]] = {
    "causal": ("SFT and DPO", _log_probs),
    "sample": ("sampling", _samples),
    "reward": ("a reward model", _scores),
    "ppo": ("PPO", _learning),
    "package": ("a package", _reload),
    "bfloat16": ("runtime.dtype bfloat16", _in_bfloat16),
}
USES = tuple(TRIALS)
