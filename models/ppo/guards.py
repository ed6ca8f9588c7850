"""Guards: proxies that stop PPO before it breaks the policy. Gold is never looked at."""

from models.ppo.settings import PpoSettings

# A rollout whose KL lies above the budget by more standard errors than this needs no second one to confirm it.
CLEARLY = 2.0


def tripped(history: list[dict[str, float]], settings: PpoSettings) -> str | None:
    """Why to stop, or None: a limit broken in `guard_patience` rollouts in a row, or the KL budget broken clearly.

    Args:
        history: metrics of the rollouts so far, the newest last.
    """
    last = history[-settings.guard_patience :]
    broken = breaches(history[-1], settings)
    if "kl" in broken and _is_clear(history[-1], settings):
        return broken["kl"]
    if len(last) < settings.guard_patience:
        return None
    return next((why for name, why in broken.items() if all(name in breaches(step, settings) for step in last)), None)


def crosses_a_limit(history: list[dict[str, float]], settings: PpoSettings) -> bool:
    """Whether the newest rollout breaks a limit and the one before it broke none."""
    return bool(breaches(history[-1], settings)) and not (history[1:] and breaches(history[-2], settings))


def breaches(metrics: dict[str, float], settings: PpoSettings) -> dict[str, str]:
    """Every limit that one rollout breaks, with the sentence that says so."""
    broken = {}
    if settings.kl_budget is not None and metrics["kl"] > settings.kl_budget:
        broken["kl"] = f"kl: {metrics['kl']:.4g} nats per response exceeds the budget of {settings.kl_budget:.4g}"
    floors = [("entropy", settings.entropy_floor, "nats per token"),
              ("eos_rate", settings.eos_rate_floor, "of responses"),
              ("distinct_bigrams", settings.distinct_floor, "of bigrams")]
    for name, floor, unit in floors:
        if floor is not None and metrics[name] < floor:
            broken[name] = f"{name}: {metrics[name]:.4g} {unit} is below the floor of {floor:.4g}"
    return broken


def _is_clear(metrics: dict[str, float], settings: PpoSettings) -> bool:
    return metrics["kl"] - CLEARLY * metrics["kl_standard_error"] > settings.kl_budget
