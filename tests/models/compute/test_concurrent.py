"""Jobs on a core each: the same results in the same order, under the caller's settings."""

import threading
from contextlib import contextmanager

import pytest
import torch

from models.compute.concurrent import run_concurrently

CPU = torch.device("cpu")


@contextmanager
def torch_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_jobs_meet_and_share_the_threads():
    """Two jobs that wait for each other can only end at the same time; two threads are one for each."""
    meeting = threading.Barrier(2, timeout=300)

    def job():
        meeting.wait()
        return torch.get_num_threads()

    with torch_threads(2):
        assert run_concurrently([job, job], CPU) == [1, 1]
        assert torch.get_num_threads() == 2


def test_one_thread_means_one_after_the_other():
    order = []
    with torch_threads(1):
        assert run_concurrently([lambda: order.append(1) or "a", lambda: order.append(2) or "b"], CPU) == ["a", "b"]
    assert order == [1, 2]


def test_three_jobs_on_two_threads_keep_their_order():
    with torch_threads(2):
        assert run_concurrently([lambda: "a", lambda: "b", torch.get_num_threads], CPU) == ["a", "b", 2]


@pytest.mark.parametrize("gradient", [True, False])
def test_gradients_are_on_where_the_caller_has_them(gradient):
    weight = torch.ones(1, requires_grad=True)
    with torch_threads(2), torch.set_grad_enabled(gradient):
        first, second = run_concurrently([lambda: weight * 2, lambda: weight * 3], CPU)
    assert first.requires_grad == second.requires_grad == gradient


def test_inference_mode_comes_along():
    with torch_threads(2), torch.inference_mode():
        assert all(x.is_inference() for x in run_concurrently([lambda: torch.ones(1), lambda: torch.ones(1)], CPU))


def test_what_a_job_raises_is_raised():
    def fail():
        raise ValueError("no")

    with torch_threads(2), pytest.raises(ValueError, match="no"):
        run_concurrently([lambda: 1, fail], CPU)
