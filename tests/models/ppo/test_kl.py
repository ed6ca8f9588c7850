"""KL estimators against the exact divergence of two small distributions; controllers by hand."""

import pytest
import torch

from models.ppo.kl import AdaptiveKl, FixedKl, k1, k2, k3

P = torch.tensor([0.5, 0.3, 0.2]).log()
Q = torch.tensor([0.2, 0.3, 0.5]).log()


def test_k1_and_k3_are_unbiased_and_k3_is_never_negative():
    exact = (P.exp() * (P - Q)).sum()
    torch.testing.assert_close((P.exp() * k1(P, Q)).sum(), exact)
    torch.testing.assert_close((P.exp() * k3(P, Q)).sum(), exact)
    assert (k3(P, Q) >= 0).all() and (k2(P, Q) >= 0).all() and (k1(P, Q) < 0).any()


def test_by_hand():
    """log π − log π_ref = 2: k1 = 2, k2 = 2, k3 = e⁻² − 1 + 2."""
    new, old = torch.tensor([-1.0]), torch.tensor([-3.0])
    assert (k1(new, old).item(), k2(new, old).item()) == (2.0, 2.0)
    assert k3(new, old).item() == pytest.approx(1.1353353)


def test_only_k2_is_right_as_a_loss():
    """Expected gradient of each estimator as a loss, against the gradient of the exact KL."""
    logits = torch.tensor([0.4, -0.1, 0.2], requires_grad=True)

    def gradient(loss_of):
        logprobs = torch.log_softmax(logits, -1)
        return torch.autograd.grad(loss_of(logprobs), logits)[0]

    exact = gradient(lambda lp: (lp.exp() * (lp - Q)).sum())
    expected = [gradient(lambda lp, k=k: (lp.exp().detach() * k(lp, Q)).sum()) for k in (k1, k2, k3)]
    torch.testing.assert_close(expected[1], exact)
    assert not torch.allclose(expected[0], exact) and not torch.allclose(expected[2], exact)


def test_fixed_controller():
    controller = FixedKl(0.05)
    controller.update(100.0, 64)
    assert controller.coefficient == 0.05


def test_adaptive_controller_by_hand():
    """Target 6, horizon 1000, 100 episodes: KL 6.6 is 10% over, β grows by 1%; errors are clipped at 20%: 2%."""
    controller = AdaptiveKl(0.1, target=6.0, horizon_episodes=1000)
    controller.update(6.6, 100)
    assert controller.coefficient == pytest.approx(0.101)
    controller.update(60.0, 100)
    assert controller.coefficient == pytest.approx(0.101 * 1.02)
    controller.update(0.0, 100)
    assert controller.coefficient == pytest.approx(0.101 * 1.02 * 0.98)
    other = AdaptiveKl(0.5, target=6.0, horizon_episodes=1000)
    other.load_state_dict(controller.state_dict())
    assert other == controller
