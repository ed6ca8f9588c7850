"""Losses: value by hand, gradient direction, mask invariance, limits."""

import math

import pytest
import torch

from models.ppo.losses import bradley_terry_loss, dpo_loss, ppo_policy_loss, ppo_value_loss

NAN = float("nan")


def row(*values, grad=False):
    return torch.tensor([values], dtype=torch.float32, requires_grad=grad)


ALL = torch.ones(1, 2, dtype=torch.bool)


def test_policy_loss_by_hand():
    """Ratios 1.5 and 0.5, advantages 1 and −1, range 0.2: min(1.5, 1.2) = 1.2 and min(−0.5, −0.8) = −0.8; mean 0.2."""
    out = ppo_policy_loss(row(math.log(1.5), math.log(0.5)), row(0.0, 0.0), row(1.0, -1.0), ALL, 0.2)
    assert out.loss.item() == pytest.approx(-0.2)
    assert out.clip_fraction == 1 and out.ratio.item() == pytest.approx(1.0)
    assert out.approx_kl.item() == pytest.approx((math.log(1.5) ** 2 + math.log(0.5) ** 2) / 4)


def test_policy_gradient_raises_good_tokens_until_clipped():
    new = row(0.0, 0.0, grad=True)
    ppo_policy_loss(new, row(0.0, 0.0), row(1.0, -2.0), ALL, 0.2).loss.backward()
    torch.testing.assert_close(new.grad, row(-0.5, 1.0))
    far = row(1.0, -1.0, grad=True)
    ppo_policy_loss(far, row(0.0, 0.0), row(1.0, -2.0), ALL, 0.2).loss.backward()
    assert far.grad.abs().sum() == 0


def test_policy_loss_ignores_garbage_under_the_mask():
    mask = torch.tensor([[True, True, False]])
    new = row(0.1, -0.1, 500.0, grad=True)
    out = ppo_policy_loss(new, row(0.0, 0.0, NAN), row(1.0, 2.0, NAN), mask, 0.2)
    clean = ppo_policy_loss(row(0.1, -0.1), row(0.0, 0.0), row(1.0, 2.0), ALL, 0.2)
    for a, b in zip(out, clean, strict=True):
        torch.testing.assert_close(a, b, check_dtype=False)
    out.loss.backward()
    assert new.grad.isfinite().all() and new.grad[0, 2] == 0


def test_micro_batches_add_up():
    torch.manual_seed(0)
    new, old, advantages, mask = torch.randn(4, 5), torch.randn(4, 5), torch.randn(4, 5), torch.rand(4, 5) > 0.4
    whole = ppo_policy_loss(new, old, advantages, mask, 0.2)
    parts = [ppo_policy_loss(new[i], old[i], advantages[i], mask[i], 0.2, tokens=mask.sum())
             for i in (slice(0, 1), slice(1, 4))]
    for name in whole._fields:
        torch.testing.assert_close(sum(getattr(p, name) for p in parts), getattr(whole, name))


def test_value_loss_by_hand():
    """V = [2, 0], V_old = [1, 0], R = [1, 3], range 0.2: max(1, 0.04) = 1 and max(9, 9) = 9; half the mean is 2.5."""
    out = ppo_value_loss(row(2.0, 0.0), row(1.0, 0.0), row(1.0, 3.0), ALL, 0.2)
    assert out.loss.item() == pytest.approx(2.5) and out.clip_fraction == 0
    # V moved 1 past V_old toward R = 5: clipped to 1.2, (1.2 − 5)² = 14.44 exceeds (2 − 5)² = 9.
    clipped = ppo_value_loss(row(2.0), row(1.0), row(5.0), ALL[:, :1], 0.2)
    assert clipped.loss.item() == pytest.approx(7.22) and clipped.clip_fraction == 1


def test_value_gradient_and_mask():
    mask = torch.tensor([[True, False]])
    values = row(0.1, 9.0, grad=True)
    out = ppo_value_loss(values, row(0.0, NAN), row(1.0, NAN), mask, 0.2)
    assert out.loss.item() == pytest.approx(0.405)
    out.loss.backward()
    torch.testing.assert_close(values.grad, row(-0.9, 0.0))


def test_bradley_terry_by_hand_and_limits():
    """Difference log 3: σ = 3/4, loss log(4/3). Equal rewards: log 2. Margin equal to the difference: log 2."""
    chosen, rejected = torch.tensor([math.log(3.0), 0.0]), torch.tensor([0.0, 0.0])
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected), torch.tensor([math.log(4 / 3), math.log(2)]))
    assert bradley_terry_loss(chosen[:1], rejected[:1], margin=math.log(3.0)).item() == pytest.approx(math.log(2))
    centred = bradley_terry_loss(torch.tensor([1.0]), torch.tensor([1.0]), centring=0.01)
    assert centred.item() == pytest.approx(math.log(2) + 0.04)


def test_bradley_terry_is_stable_and_pushes_apart():
    far = bradley_terry_loss(torch.tensor([-1e4, 1e4]), torch.tensor([1e4, -1e4]))
    torch.testing.assert_close(far, torch.tensor([2e4, 0.0]))
    chosen, rejected = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    bradley_terry_loss(chosen, rejected).sum().backward()
    assert chosen.grad.item() == -0.5 and rejected.grad.item() == 0.5


def test_dpo_by_hand_and_limits():
    """β = 0.5, log-ratios 2 and −2: rewards 1 and −1, loss −log σ(2). At β = 0, and at the reference, log 2."""
    parts = [torch.tensor([x]) for x in (-1.0, -5.0, -3.0, -3.0)]
    out = dpo_loss(*parts, beta=0.5)
    assert out.loss.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (1.0, -1.0)
    assert dpo_loss(*parts, beta=0.0).loss.item() == pytest.approx(math.log(2))
    assert dpo_loss(parts[2], parts[3], parts[2], parts[3], beta=0.5).loss.item() == pytest.approx(math.log(2))


def test_dpo_gradient_by_hand():
    chosen, rejected = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    dpo_loss(chosen, rejected, torch.zeros(1), torch.zeros(1), beta=0.3).loss.sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.15) and rejected.grad.item() == pytest.approx(0.15)
