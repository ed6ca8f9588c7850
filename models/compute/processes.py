"""Several processes as one: each takes its share of the rows, and everyone knows the whole.

`accelerate launch` (or torchrun) starts the processes and says in the environment who is who; `start` connects them.
On CPUs, too, accelerate needs `--multi_gpu` for that: with `--cpu` it starts one process, whatever `--num_processes`.
Alone, every function here does nothing, or nothing more than the plain computation.
"""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def start() -> None:
    """Joins the processes that were launched together; each takes the GPU of its local rank where there are GPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def stop() -> None:
    """Waits for the others and takes leave of them."""
    if dist.is_initialized():
        wait()
        dist.destroy_process_group()


def count() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process is the one that writes files."""
    return rank() == 0


def wait() -> None:
    """Returns once every process has come here."""
    if count() > 1:
        dist.barrier()


def share(total: int) -> list[int]:
    """This process's rows among `total`: every count()-th, from its rank on."""
    return list(range(rank(), total, count()))


def spread(compute: Callable[[list[int]], Sequence[T]], total: int) -> list[T]:
    """What `compute(rows)` gives for each of `total` rows, in order, each process computing its share.

    Args:
        compute: row numbers -> one result per row; tensors among them on the CPU.

    Raises:
        Exception: what `compute` raised in any process; in all of them, so that none waits for one that has stopped.
    """
    if count() == 1:
        return list(compute(share(total)))
    try:
        outcome = list(compute(share(total)))
    except Exception as error:
        outcome = error
    outcomes: list = [None] * count()
    dist.all_gather_object(outcomes, outcome)
    if errors := [one for one in outcomes if isinstance(one, Exception)]:
        raise errors[0]
    return [outcomes[row % count()][row // count()] for row in range(total)]


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replaces each tensor, in place, by its sum over the processes; one message for all of them."""
    if count() == 1:
        return
    flat = torch.cat([tensor.flatten().float() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def copy_from_main(tensors: Sequence[Tensor]) -> None:
    """Overwrites each tensor with the main process's."""
    if count() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)
