"""KL divergence to the reference: estimators per token, and controllers of the coefficient.

As a reward, k1 is the unbiased choice. As a *loss*, the gradients of k1 and k3 are wrong and that of k2 is right.
"""

from dataclasses import dataclass

from torch import Tensor


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """log π − log π_ref: unbiased, noisy, may be negative. Any shape, nats."""
    return logprobs - reference_logprobs


def k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """½ (log π − log π_ref)²: biased, never negative; its gradient is the KL's."""
    return 0.5 * (logprobs - reference_logprobs) ** 2


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """π_ref/π − 1 − log(π_ref/π): unbiased, never negative (http://joschu.net/blog/kl-approx.html)."""
    log_ratio = reference_logprobs - logprobs
    return log_ratio.expm1() - log_ratio


@dataclass
class FixedKl:
    """A constant KL coefficient β, in reward units per nat."""

    coefficient: float

    def update(self, kl: float, episodes: int) -> None:
        """Nothing changes."""

    def state_dict(self) -> dict[str, float]:
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.coefficient = state["coefficient"]


@dataclass
class AdaptiveKl(FixedKl):
    """A coefficient that steers the measured KL to `target` (nats per response), Sec. 2.2, arXiv:1909.08593."""

    target: float
    horizon_episodes: int

    def update(self, kl: float, episodes: int) -> None:
        """Multiplies β by 1 + clip(kl / target − 1, ±0.2) · episodes / horizon. `kl`: nats per response."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coefficient *= 1 + error * episodes / self.horizon_episodes
