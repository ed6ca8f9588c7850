"""What one optimizer step is: the loss asked for, the same however it is split into batches, at a rate above 0."""

import math

import pytest
import torch

from models.ppo.losses import chosen_nll
from tasks.training import trainers as training
from tests.support.training_stages import (
    UNEVEN,
    WHOLE,
    base,  # noqa: F401
    dpo_trainer,
    one_step,
    reward_trainer,
    sft_trainer,
)


@pytest.mark.parametrize("trainer", [sft_trainer, reward_trainer, dpo_trainer])
def test_a_step_does_not_depend_on_how_it_is_split_and_is_taken(base, tmp_path, trainer):
    """The last batch is short: averaged as a batch, its two pairs would count more than twice as much as the others."""
    whole, split = (one_step(trainer(base, tmp_path, how)) for how in (WHOLE, UNEVEN))
    assert split == pytest.approx(whole, rel=1e-4)


def test_losses_that_need_smoothing_train(base, tmp_path):
    loss, norm = one_step(dpo_trainer(base, tmp_path, WHOLE, ("exo_pair", "robust")))
    assert math.isfinite(loss) and norm > 0


def test_the_chosen_nll_of_two_rows_worked_by_hand():
    """Row one: 1 and 3 nats over two tokens are 2 a token; row two: 4 over one. What is under the mask is garbage."""
    logprobs = torch.tensor([[-1.0, -3.0, 99.0], [-4.0, 99.0, math.nan]], requires_grad=True)
    losses = chosen_nll(logprobs, torch.tensor([[True, True, False], [True, False, False]]))
    assert losses.tolist() == [2.0, 4.0]
    losses.sum().backward()
    assert logprobs.grad.tolist() == [[-0.5, -0.5, 0.0], [-1.0, 0.0, 0.0]]


def test_a_chosen_response_without_tokens_teaches_nothing():
    logprobs = torch.tensor([[-1.0, -3.0]], requires_grad=True)
    loss = chosen_nll(logprobs, torch.zeros(1, 2, dtype=torch.bool))
    loss.sum().backward()
    assert loss.tolist() == [0.0] and logprobs.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("share, steps, warm", [
    (0.05, 1, 0), (0.05, 2, 1), (0.05, 226, 12), (1.0, 4, 3), (0.5, 1, 0), (0.0, 10, 0), (0.99, 100, 99),
])
def test_the_warm_up_leaves_a_step_at_the_full_rate(share, steps, warm):
    """Rounded up, as transformers does; but never the whole run, and a share of 1 is no single step."""
    assert training.warmup_steps(share, steps) == warm
