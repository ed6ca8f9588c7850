"""Token sequences as tensors, and how to reach inside any Hugging Face model.

Masks come from lengths, never from comparing ids with PAD: PAD may equal EOS in a user's tokenizer. The filler under
a mask is id 0, and no result depends on it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

FILLER_ID = 0


def pad_right(sequences: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Pads sequences of ids on the right.

    Returns:
        ids (batch, time) int64 and lengths (batch,) int64.
    """
    lengths = [len(sequence) for sequence in sequences]
    width = max(lengths)
    ids = torch.tensor([[*sequence, *[FILLER_ID] * (width - len(sequence))] for sequence in sequences])
    return ids.to(device), torch.tensor(lengths, device=device)


def pad_left(sequences: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Pads sequences of ids on the left; returns ids (batch, time) and a boolean mask (batch, time), True = real."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    width = int(lengths.max())
    ids = torch.tensor([[*[FILLER_ID] * (width - len(sequence)), *sequence] for sequence in sequences])
    mask = torch.arange(width) >= width - lengths[:, None]
    return ids.to(device), mask.to(device)


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """(batch,) lengths -> (batch, width) boolean mask, True at the first `length` positions of each row."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def right_padded_lengths(ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Real tokens (batch,) of each row of ids (batch, width). Raises ValueError for padding on the left."""
    if attention_mask is None:
        return torch.full((len(ids),), ids.shape[1], device=ids.device)
    if ids.shape[1] > 1 and bool((attention_mask[:, 1:] > attention_mask[:, :-1]).any()):
        raise ValueError("attention_mask has padding on the left, and rows are read from their first token on: set the"
                         " tokenizer's padding_side to 'right'")
    return attention_mask.sum(1)


def by_length(lengths: Sequence[int], rows_per_batch: int) -> Iterator[list[int]]:
    """Yields lists of row numbers, shortest rows first, at most `rows_per_batch` each.

    Raises:
        ValueError: `rows_per_batch` is below 1.
    """
    if rows_per_batch < 1:
        raise ValueError(f"rows_per_batch={rows_per_batch} must be at least 1; set it to 1 or more")
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), rows_per_batch):
        yield order[start : start + rows_per_batch]


def once_per_model(ask: Callable[[nn.Module], bool]) -> Callable[[nn.Module], bool]:
    """Remembers what was found out about a model for as long as the model lives."""
    answers: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()

    @wraps(ask)
    def remembered(model: nn.Module) -> bool:
        if model not in answers:
            answers[model] = ask(model)
        return answers[model]

    return remembered


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts every submodule in eval mode (dropout off) and restores each one's own flag afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def unwrapped(model: nn.Module) -> nn.Module:
    """The Hugging Face model under a peft wrapper; adapter layers stay in place inside it.

    Raises:
        ValueError: the adapter lives in the wrapper (prompt learning), so unwrapping would drop it.
    """
    if not hasattr(model, "get_base_model"):
        return model
    if model.active_peft_config.is_prompt_learning:
        kind = model.active_peft_config.peft_type
        raise ValueError(f"adapter type {kind} is not supported; use LoRA or another adapter injected into layers")
    return model.get_base_model()


def backbone_of(model: nn.Module) -> nn.Module:
    """The decoder under the head: token ids in, last hidden states out.

    Raises:
        ValueError: no backbone is found.
    """
    inner = unwrapped(model)
    prefix = getattr(inner, "base_model_prefix", "")
    backbone = getattr(inner, prefix, None) if prefix else None
    if backbone is not None:
        return backbone
    # Some name the wrapper that they are cut from (Llama 4, whose text model lies beside a head of its own).
    models = [child for child in inner.children() if isinstance(child, PreTrainedModel)]
    if len(models) != 1:
        raise ValueError(f"{type(inner).__name__} names no backbone (base_model_prefix={prefix!r}); use a Hugging Face"
                         " causal language model or sequence classifier")
    return models[0]


def hidden_states(backbone: nn.Module, ids: Tensor) -> Tensor:
    """Last hidden states (batch, time, hidden) of right-padded ids (batch, time).

    No attention mask is built: a causal model's real tokens never see what is padded to their right, and without a
    mask attention takes its fast causal path. Position ids are then 0, 1, 2, ... as the mask's cumulative sum gives.
    """
    return backbone(input_ids=ids, use_cache=False).last_hidden_state


def counts_columns(model: nn.Module) -> bool:
    """Whether attention is scaled by a token's column in the batch instead of by its position in the row (Llama 4).

    It shows from thousands of columns on, so that no short probe could see it. Rows may then neither lie end to end nor
    be padded on the left.
    """
    return bool(getattr(unwrapped(model).config.get_text_config(), "attn_temperature_tuning", False))


def state_size(backbone: nn.Module) -> int:
    """Numbers in each last hidden state: what comes out, since a config may name another size (OPT's projection)."""
    with evaluating(backbone), torch.no_grad():
        return hidden_states(backbone, torch.zeros(1, 1, dtype=torch.long, device=device_of(backbone))).shape[-1]


def context_length(model: nn.Module) -> int:
    """Tokens that the model can attend to; unlimited where its config names no limit (ALiBi)."""
    return int(getattr(unwrapped(model).config.get_text_config(), "max_position_embeddings", None) or sys.maxsize)
