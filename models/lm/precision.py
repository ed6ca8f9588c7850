"""Which numbers are held in float32, which products run in bfloat16, and where a model is rounded.

What is trained is held in float32: a bfloat16 weight has 8 binary digits, so a step of less than 1/256 of it is lost.
Its matrix products run in bfloat16 (autocast). What is judged and served is rounded once, by `round_weights`.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


def products_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager:
    """Context in which matrix products run in `dtype`, whatever the weights are held in; float32 changes nothing.

    Casts are not kept from one use of a weight to the next: one made without gradient would be reused with gradient,
    and the weight would get none.
    """
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype, cache_enabled=False)


def hold_products_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Holds the weights of a frozen model's linear layers as `products_in` would cast them at each use.

    The same numbers in half the memory. A weight that is an embedding too stays: what is looked up is not cast.

    Returns:
        The same model.
    """
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, (nn.Linear, Conv1D)) and dtype != torch.float32:
            for parameter in module.parameters(recurse=False):
                if id(parameter) not in looked_up:
                    parameter.data = parameter.data.to(dtype)
    return model


def round_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Rounds a model to what transformers holds in memory when it reads the stored model in `dtype`.

    So numbers that its class makes in float32 whatever the dtype (rotary frequencies, the decays of some recurrent
    layers) are not rounded, and those that it makes in `dtype` without storing them (Falcon-H1's multipliers) are.

    Returns:
        The same model.
    """
    if dtype == torch.float32:
        return model
    with torch.device("meta"):
        made = type(model)._from_config(copy.deepcopy(model.config), dtype=dtype)
    dtypes = {name: tensor.dtype for name, tensor in _tensors(made)}
    kept = re.compile("|".join(map(re.escape, model._keep_in_fp32_modules_strict)) or r"(?!)")
    for name, held in list(_tensors(model)):
        if held.is_floating_point() and not kept.search(name):
            held.data = held.data.to(dtypes[name])
    return model


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name, tied ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)
