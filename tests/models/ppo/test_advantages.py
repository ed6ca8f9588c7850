"""GAE, returns and whitening by hand and against a slow loop written from the formula."""

import pytest
import torch

from models.ppo.advantages import explained_variance, gae, masked_mean, whiten
from models.ppo.rewards import penalise_missing_stop, token_rewards
from models.ppo.rollout import advantages_and_returns, distinct_bigrams

NAN = float("nan")


def mask(*lengths, width=None):
    return torch.arange(width or max(lengths)) < torch.tensor(lengths)[:, None]


def test_reward_at_the_end_reaches_every_token():
    """γ = λ = 1, V = 0, r = [0, 0, 1]: each advantage is the sum of the rewards to come, 1."""
    assert gae(torch.tensor([[0.0, 0, 1]]), torch.zeros(1, 3), mask(3), 1.0, 1.0).tolist() == [[1, 1, 1]]


def test_by_hand_with_discount():
    """γ = 0.5, λ = 0.5, V = [1, 2], r = [1, 3]: δ₁ = 3 − 2 = 1; δ₀ = 1 + 0.5·2 − 1 = 1; A₀ = 1 + 0.25·1 = 1.25."""
    advantages = gae(torch.tensor([[1.0, 3]]), torch.tensor([[1.0, 2]]), mask(2), 0.5, 0.5)
    assert advantages.tolist() == [[1.25, 1.0]]


def test_lambda_0_is_the_one_step_error():
    torch.manual_seed(0)
    rewards, values = torch.randn(2, 4), torch.randn(2, 4)
    following = torch.cat([values[:, 1:], torch.zeros(2, 1)], 1)
    expected = rewards + 0.9 * following - values
    torch.testing.assert_close(gae(rewards, values, mask(4, 4), 0.9, 0.0), expected)


def slow_gae(rewards, values, gamma, lam):
    """One row: A_t = Σ_k (γλ)^k δ_{t+k}."""
    n = len(rewards)
    delta = [rewards[t] + gamma * (values[t + 1] if t + 1 < n else 0.0) - values[t] for t in range(n)]
    return [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, n)) for t in range(n)]


def test_equals_slow_loop_and_ignores_garbage_under_the_mask():
    torch.manual_seed(0)
    rewards, values, counted = torch.randn(3, 6), torch.randn(3, 6), mask(6, 2, 4)
    rewards[~counted], values[~counted] = NAN, 1e9
    advantages = gae(rewards, values, counted, 0.97, 0.9)
    assert (advantages[~counted] == 0).all()
    for row, length in enumerate((6, 2, 4)):
        expected = slow_gae(rewards[row, :length].tolist(), values[row, :length].tolist(), 0.97, 0.9)
        torch.testing.assert_close(advantages[row, :length], torch.tensor(expected))


def test_masked_tokens_in_the_middle_are_skipped():
    gapped = gae(torch.tensor([[1.0, NAN, 2]]), torch.tensor([[0.5, NAN, 0.25]]),
                 torch.tensor([[True, False, True]]), 0.9, 0.8)
    plain = gae(torch.tensor([[1.0, 2]]), torch.tensor([[0.5, 0.25]]), mask(2), 0.9, 0.8)
    torch.testing.assert_close(gapped[:, [0, 2]], plain)


def test_whiten_by_hand():
    """[1, 2, 3] has mean 2 and sample variance 1; with the mean kept, [1, 2, 3] stays."""
    x, counted = torch.tensor([[1.0, 2, 3, NAN]]), mask(3, width=4)
    torch.testing.assert_close(whiten(x, counted), torch.tensor([[-1.0, 0, 1, 0]]))
    torch.testing.assert_close(whiten(x, counted, shift_mean=False), torch.tensor([[1.0, 2, 3, 0]]))
    torch.testing.assert_close(whiten(10 * x, counted), whiten(x, counted))
    assert masked_mean(x, counted) == 2
    assert whiten(torch.tensor([[5.0]]), mask(1)).tolist() == [[0.0]]


def test_explained_variance_by_hand():
    returns, counted = torch.tensor([[1.0, 3, 77]]), mask(2, width=3)
    assert explained_variance(returns, returns, counted) == 1
    assert explained_variance(torch.zeros(1, 3), returns, counted) == 0
    assert explained_variance(torch.tensor([[0.0, 1, 5]]), returns, counted) == pytest.approx(0.75)


def test_token_rewards_by_hand():
    """β = 0.1; log π − log π_ref = [1, −2] and [3]: −0.1, 0.2 + score 5, and −0.3 + score −1 on the only token."""
    logprobs, reference = torch.tensor([[-1.0, -3], [-1, NAN]]), torch.tensor([[-2.0, -1], [-4, NAN]])
    rewards = token_rewards(torch.tensor([5.0, -1]), logprobs, reference, mask(2, 1), 0.1)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, 5.2], [-1.3, 0]]))


def test_missing_stop_penalty_by_hand():
    scores, finished = torch.tensor([2.0, 2.0]), torch.tensor([True, False])
    assert penalise_missing_stop(scores, finished, 0.5, "subtract").tolist() == [2, 1.5]
    assert penalise_missing_stop(scores, finished, 1.0, "replace").tolist() == [2, -1]
    assert penalise_missing_stop(scores, finished, None, "replace").tolist() == [2, 2]


def test_returns_are_raw_advantages_plus_values():
    """Whitening touches the advantages alone: γ = λ = 1 gives returns = sums of rewards to come, here 1 + 2 and 2."""
    advantages, returns = advantages_and_returns(torch.tensor([[1.0, 2]]), torch.tensor([[0.5, 0.5]]), mask(2),
                                                 gamma=1.0, lam=1.0, whiten_rewards=False)
    torch.testing.assert_close(returns, torch.tensor([[3.0, 2.0]]))
    torch.testing.assert_close(advantages, torch.tensor([[0.5, -0.5]]) * 2**0.5)


def test_whitened_rewards_keep_their_mean():
    """[10, 12, 14] has mean 12 and sample deviation 2, so it becomes [11, 12, 13]; returns are the sums to come."""
    _, returns = advantages_and_returns(torch.tensor([[10.0, 12, 14]]), torch.zeros(1, 3), mask(3), gamma=1.0, lam=1.0,
                                        whiten_rewards=True)
    torch.testing.assert_close(returns, torch.tensor([[36.0, 25.0, 13.0]]))


def test_distinct_bigrams_by_hand():
    assert distinct_bigrams([(1, 2, 3), (1, 2)]) == pytest.approx(2 / 3)
    assert distinct_bigrams([(1,)]) == 1.0
