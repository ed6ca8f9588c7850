"""Log-probs of responses, with the language-model head applied at response positions only.

The head is the widest matrix of a small model; running it over prompts and padding is wasted work and memory.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.lm.batching import (
    backbone_of,
    by_length,
    device_of,
    evaluating,
    hidden_states,
    length_mask,
    once_per_model,
    pad_right,
    unwrapped,
)
from models.lm.long_rope import on_each_side, switch_length
from models.lm.packing import token_states


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


def head_is_plain(model: nn.Module) -> bool:
    """Whether logits are just the output embedding of the last hidden states.

    Some architectures scale or cap logits after the head. Rather than know them by name, see once what the head is
    given, and whether large numbers in the place of its logits come out as they are.
    """
    return _head_is_plain(unwrapped(model))


@once_per_model
def _head_is_plain(inner: nn.Module) -> bool:
    head = inner.get_output_embeddings()
    if head is None:
        return False
    read: list[Tensor] = []
    written: list[Tensor] = []

    def replace_logits(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        read.append(args[0])
        written.append(torch.linspace(-99, 99, out.numel(), device=out.device, dtype=out.dtype).view_as(out))
        return written[0]

    ids = torch.arange(2, device=device_of(inner))[None]
    with evaluating(inner), torch.no_grad():
        states = hidden_states(backbone_of(inner), ids)
        with head.register_forward_hook(replace_logits):
            logits = inner(input_ids=ids, use_cache=False).logits
    if not read or read[0].shape != states.shape:
        return False
    reads_states = torch.allclose(read[0], states.to(read[0].dtype), rtol=1e-4, atol=1e-5)
    return reads_states and torch.equal(logits, written[0])


def states_and_logits(model: nn.Module, batch: ResponseBatch) -> tuple[Tensor, Tensor]:
    """One forward pass, read twice: hidden states (response tokens, hidden) that choose each response token, and
    their logits (response tokens, vocabulary), before any temperature."""
    inner, backbone = unwrapped(model), backbone_of(model)
    if head_is_plain(model):
        states = token_states(backbone, batch.ids, batch.lengths, batch.states)
        head = inner.get_output_embeddings()
        return states, head(states.to(head.weight.dtype))  # Mamba's states are float32 beside bfloat16 weights

    def run(ids: Tensor, lengths: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        with backbone.register_forward_hook(lambda module, args, out: seen.append(out.last_hidden_state)):
            logits = inner(input_ids=ids, use_cache=False).logits
        real = length_mask(lengths, ids.shape[1])
        return seen[0][real][read], logits[real][read]

    return on_each_side(run, batch.ids, batch.lengths, batch.states, switch_length(backbone))


def batch_logprobs(model: nn.Module, batch: ResponseBatch, temperature: float) -> ResponseLogprobs:
    """Log-probs of a joined batch in one forward pass, with gradient where it is enabled.

    Raises:
        ValueError: temperature is not above 0.
    """
    _, logits = states_and_logits(model, batch)
    return logits_to_logprobs(logits, batch, temperature)


def logits_to_logprobs(logits: Tensor, batch: ResponseBatch, temperature: float) -> ResponseLogprobs:
    """As `batch_logprobs`, from the batch's logits (response tokens, vocabulary)."""
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be above 0; use 1 for log-probs of greedy responses")
    logits = logits.float()
    log_distribution = torch.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)
    chosen = log_distribution.gather(1, batch.targets[:, None]).squeeze(1)
    return ResponseLogprobs(scatter(chosen, batch.response_mask), batch.response_mask)


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
