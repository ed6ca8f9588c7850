"""What must hold between the parts of a PPO run before anything is sampled."""

from collections.abc import Sequence

from torch import nn

from models.ppo.prompts import Prompts
from models.ppo.value import SharedValue, ValueModel, check_critic
from models.reward.scoring import RewardSignal


def check_parts(
    policy: nn.Module, value: ValueModel | SharedValue, reference: nn.Module | None, rewards: Sequence[RewardSignal],
    prompts: Prompts,
) -> None:
    """Raises ValueError for parts that are missing, meant twice or do not fit together."""
    if not prompts:
        raise ValueError("PPO got no prompts; it needs at least one")
    ids = [prompt_id for prompt_id, _ in prompts]
    if len(set(ids)) < len(ids):
        twice = next(prompt_id for prompt_id in ids if ids.count(prompt_id) > 1)
        raise ValueError(f"prompt id {twice!r} occurs more than once; ids must be distinct")
    if not rewards:
        raise ValueError("PPO got no reward signal; it needs at least one")
    names = [signal.name for signal in rewards]
    if len(set(names)) < len(names):
        raise ValueError(f"reward signals {names} must have distinct names")
    if reference is None and not hasattr(policy, "disable_adapter"):
        raise ValueError("reference is None but the policy has no adapter to switch off; pass a reference model")
    check_critic(policy, value)
