"""Log-probs of responses, with the language-model head applied at response positions only (models/lm/token_scores.py)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.lm.batching import backbone_of, by_length, device_of, length_mask, pad_right
from models.lm.packing import token_states
from models.lm.token_scores import token_scores


class ResponseLogprobs(NamedTuple):
    """`logprobs` (batch, time) in nats, 0 outside `response_mask` (batch, time), boolean."""

    logprobs: Tensor
    response_mask: Tensor


class ResponseBatch(NamedTuple):
    """Prompts and responses joined and right-padded, each row without its last token, which predicts nothing.

    `ids` (batch, joined time) with `lengths` (batch,); `response_mask` (batch, time), time = the longest response;
    `states` (response tokens,) are, for each response token in row-major order, the place among all real tokens of
    the one whose hidden state predicts it; `targets` (response tokens,) are the response tokens themselves.
    """

    ids: Tensor
    lengths: Tensor
    response_mask: Tensor
    states: Tensor
    targets: Tensor


def join(
    prompt_ids: Sequence[Sequence[int]], response_ids: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> ResponseBatch:
    """Lays prompts and responses out for one forward pass.

    Raises:
        ValueError: an empty prompt, since nothing would predict its first response token.
    """
    for row, prompt in enumerate(prompt_ids):
        if len(prompt) == 0:
            raise ValueError(f"row {row} has an empty prompt; a prompt needs at least one token")
    ids, lengths = pad_right([[*p, *r][:-1] if r else p for p, r in zip(prompt_ids, response_ids, strict=True)], device)
    response_lengths = torch.tensor([len(response) for response in response_ids], device=device)
    response_mask = length_mask(response_lengths, int(response_lengths.max()))
    rows, offsets = response_mask.nonzero(as_tuple=True)
    columns = torch.tensor([len(prompt) - 1 for prompt in prompt_ids], device=device)[rows] + offsets
    starts = lengths.cumsum(0) - lengths
    targets = torch.tensor([token for response in response_ids for token in response], dtype=torch.long, device=device)
    return ResponseBatch(ids, lengths, response_mask, starts[rows] + columns, targets)


def scatter(flat: Tensor, response_mask: Tensor) -> Tensor:
    """(response tokens,) -> (batch, time), 0 where the mask is False. Differentiable."""
    return torch.zeros(response_mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(response_mask, flat)


def response_states(model: nn.Module, batch: ResponseBatch) -> Tensor:
    """Hidden states (response tokens, hidden) that choose each response token, from one forward pass."""
    return token_states(backbone_of(model), batch.ids, batch.lengths, batch.states)


def batch_logprobs(model: nn.Module, batch: ResponseBatch, temperature: float) -> ResponseLogprobs:
    """Log-probs of a joined batch in one forward pass, with gradient where it is enabled.

    Raises:
        ValueError: temperature is not above 0.
    """
    return states_logprobs(model, response_states(model, batch), batch, temperature)


def states_logprobs(model: nn.Module, states: Tensor, batch: ResponseBatch, temperature: float) -> ResponseLogprobs:
    """As `batch_logprobs`, from the batch's `response_states`."""
    logprobs = token_scores(model, states, batch.targets, temperature).logprobs
    return ResponseLogprobs(scatter(logprobs, batch.response_mask), batch.response_mask)


def in_batches(
    compute: Callable[[ResponseBatch], Tensor], prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]], rows_per_batch: int, device: torch.device,
) -> Tensor:
    """What `compute` gives for each response token, (batch, time), from batches of rows of similar length."""
    whole = torch.zeros(len(prompt_ids), max(len(response) for response in response_ids), device=device)
    sizes = [len(p) + len(r) for p, r in zip(prompt_ids, response_ids, strict=True)]
    for rows in by_length(sizes, rows_per_batch):
        part = compute(join([prompt_ids[i] for i in rows], [response_ids[i] for i in rows], device))
        whole[torch.tensor(rows, device=device), : part.shape[1]] = part
    return whole


def response_logprobs(
    model: nn.Module, prompt_ids: Sequence[Sequence[int]], response_ids: Sequence[Sequence[int]], temperature: float,
    *, rows_per_batch: int | None = None,
) -> ResponseLogprobs:
    """Per-token log-probs of responses, in nats at `temperature`, in batches of similar length.

    Args:
        rows_per_batch: rows per forward pass; None is all at once (the form to use for a gradient).

    Returns:
        ResponseLogprobs over the given order of rows; time is the longest response.

    Raises:
        ValueError: an empty prompt, a temperature or rows_per_batch out of range.
    """
    device = device_of(model)
    logprobs = in_batches(lambda batch: batch_logprobs(model, batch, temperature).logprobs, prompt_ids, response_ids,
                          rows_per_batch or len(prompt_ids), device)
    lengths = torch.tensor([len(response) for response in response_ids], device=device)
    return ResponseLogprobs(logprobs, length_mask(lengths, logprobs.shape[1]))
