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
) -> Path:
    """Writes a checkpoint under a temporary name, renames it, and removes older ones.

    Args:
        state: what else the run needs, as JSON.

    Returns:
        The checkpoint's folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, temporary = folder / f"{PREFIX}{step:08d}", folder / f".{PREFIX}{step:08d}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(_contiguous(trainable_tensors(policy)), temporary / "policy.safetensors")
    save_file(_contiguous(trainable_tensors(value)), temporary / "value.safetensors")
    save_file(optimizer_tensors(optimizer), temporary / "optimizer.safetensors")
    (temporary / "state.json").write_text(json.dumps({**state, "step": step}, indent=1))
    _flush(temporary)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for older in _all(folder):
        if older != final:
            shutil.rmtree(older, ignore_errors=True)
    return final


def load_latest(folder: Path, policy: nn.Module, value: nn.Module, optimizer: torch.optim.Optimizer) -> dict | None:
    """Restores the newest checkpoint in place; returns its state, or None where there is none.

    Raises:
        ValueError: the checkpoint's tensors are not those of these models.
    """
    checkpoints = _all(folder)
    if not checkpoints:
        return None
    newest = checkpoints[-1]
    _restore(trainable_tensors(policy), newest / "policy.safetensors")
    _restore(trainable_tensors(value), newest / "value.safetensors")
    _restore_optimizer(optimizer, load_file(newest / "optimizer.safetensors"))
    return json.loads((newest / "state.json").read_text())


def read_state(folder: Path) -> dict | None:
    """The newest checkpoint's state without its tensors, or None."""
    checkpoints = _all(folder)
    return json.loads((checkpoints[-1] / "state.json").read_text()) if checkpoints else None


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*")) if folder.is_dir() else []


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {f"{i}.{name}": tensor.contiguous() for i, parameter in enumerate(_parameters(optimizer))
            for name, tensor in optimizer.state[parameter].items()}


def _restore(tensors: dict[str, Tensor], path: Path) -> None:
    saved = load_file(path)
    if {n: t.shape for n, t in saved.items()} != {n: t.shape for n, t in tensors.items()}:
        raise ValueError(f"checkpoint {path.parent.name} holds other tensors than this model trains ({path.name});"
                         " remove it or use another checkpoint folder")
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    for i, parameter in enumerate(_parameters(optimizer)):
        mine = {name.split(".", 1)[1]: tensor for name, tensor in saved.items() if name.split(".", 1)[0] == str(i)}
        optimizer.state[parameter] = {name: tensor.to(parameter.device) for name, tensor in mine.items()}


def _flush(folder: Path) -> None:
    """Puts the files on disk before the rename makes them a checkpoint."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
