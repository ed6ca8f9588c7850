"""Checkpoints of a PPO run: whole or not there, and nothing in them is a pickle."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

PREFIX = "checkpoint-"


def trainable_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}


def save(
    folder: Path, step: int, policy: nn.Module, value: nn.Module, optimizer: torch.optim.Optimizer, state: dict
) -> None:
    """Writes a checkpoint under a temporary name, renames it, and removes older ones.

    Args:
        state: what else the run needs, as JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, temporary = folder / f"{PREFIX}{step:08d}", folder / f".{PREFIX}{step:08d}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    parts = {"policy": trainable_tensors(policy), "value": trainable_tensors(value),
             "optimizer": optimizer_tensors(optimizer)}
    for name, tensors in parts.items():
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary / f"{name}.safetensors")
    (temporary / "state.json").write_text(json.dumps({**state, "step": step}, indent=1))
    _flush(temporary)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for older in set(_all(folder)) - {final}:
        shutil.rmtree(older, ignore_errors=True)


def load_latest(folder: Path, policy: nn.Module, value: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Restores the newest checkpoint in place.

    Raises:
        ValueError: the checkpoint's tensors are not those of these models.
    """
    newest = _all(folder)[-1]
    _restore(trainable_tensors(policy), newest / "policy.safetensors")
    _restore(trainable_tensors(value), newest / "value.safetensors")
    saved = load_file(newest / "optimizer.safetensors")
    for i, parameter in enumerate(_parameters(optimizer)):
        mine = [name for name in saved if name.split(".", 1)[0] == str(i)]
        optimizer.state[parameter] = {name.split(".", 1)[1]: saved[name].to(parameter.device) for name in mine}


def read_state(folder: Path) -> dict | None:
    """The newest checkpoint's state without its tensors, or None."""
    checkpoints = _all(folder)
    return json.loads((checkpoints[-1] / "state.json").read_text()) if checkpoints else None


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"))


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {f"{i}.{name}": tensor for i, parameter in enumerate(_parameters(optimizer))
            for name, tensor in optimizer.state[parameter].items()}


def _restore(tensors: dict[str, Tensor], path: Path) -> None:
    saved = load_file(path)
    if {n: t.shape for n, t in saved.items()} != {n: t.shape for n, t in tensors.items()}:
        raise ValueError(f"checkpoint {path.parent.name} holds other tensors than this model trains ({path.name});"
                         " remove it or use another checkpoint folder")
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])


def _flush(folder: Path) -> None:
    """Puts the files on disk before the rename makes them a checkpoint."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
