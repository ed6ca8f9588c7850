"""Independent networks at the same time on the cores of a CPU.

A small model keeps one core busy and two badly: what lies between its matrices runs on one. Two networks on a core each
lose nothing. On a GPU, and with one thread, the jobs run one after the other.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from models.compute import processes

T = TypeVar("T")


def run_concurrently(jobs: list[Callable[[], T]], device: torch.device) -> list[T]:
    """What each job returns, in order; torch's CPU threads are shared out among those that run at once.

    Jobs share no weights and no random numbers. Among several processes they may talk to each other, which must happen
    in one order everywhere: they then run in turn.

    Raises:
        Exception: what the first job that failed raised.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads < 2 or processes.count() > 1:
        return [job() for job in jobs]
    results: list[T] = []
    for start in range(0, len(jobs), threads):
        together = jobs[start : start + threads]
        if len(together) == 1:
            results.append(together[0]())
            continue
        share = threads // len(together)
        gradient, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with ThreadPoolExecutor(len(together)) as pool:
            results += pool.map(lambda job: _with_threads(job, share, gradient, inference), together)
    return results


def _with_threads(job: Callable[[], T], threads: int, gradient: bool, inference: bool) -> T:
    """Runs `job` in a thread of its own, where torch's settings are those of a new thread."""
    torch.set_num_threads(threads)  # of this thread alone
    with torch.inference_mode(inference), torch.set_grad_enabled(gradient):
        return job()
