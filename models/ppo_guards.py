"""Guards: proxies that stop PPO before it breaks the policy. Gold is never looked at."""

from models.ppo_settings import PpoSettings


def tripped(history: list[dict[str, float]], settings: PpoSettings) -> str | None:
    """Why to stop, or None. Each guard needs `guard_patience` rollouts in a row beyond its limit.

    Args:
        history: metrics of the rollouts so far, the newest last.
    """
    last = history[-settings.guard_patience :]
    if len(last) < settings.guard_patience:
        return None
    floors = [("entropy", settings.entropy_floor, "nats per token"),
              ("eos_rate", settings.eos_rate_floor, "of responses"),
              ("distinct_2", settings.distinct_floor, "of bigrams")]
    if settings.kl_budget is not None and all(step["kl"] > settings.kl_budget for step in last):
        return f"kl: {last[-1]['kl']:.4g} nats per response exceeds the budget of {settings.kl_budget:.4g}"
    for name, floor, unit in floors:
        if floor is not None and all(step[name] < floor for step in last):
            return f"{name}: {last[-1][name]:.4g} {unit} is below the floor of {floor:.4g}"
    return None
