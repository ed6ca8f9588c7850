"""Which prompts a PPO run answers when: pure functions of the step, so that a resumed run goes on with the same."""

from collections.abc import Sequence

from models.ppo.settings import PpoSettings
from models.sampling.randomness import generator

Prompts = Sequence[tuple[str, Sequence[int]]]  # (id, token ids)


def step_prompts(prompts: Prompts, settings: PpoSettings, step: int) -> Prompts:
    """Those of a step; each visit of all prompts shuffles them afresh and has random numbers of its own."""
    size, batch = settings.batch_size, []
    for position in range(step * size, (step + 1) * size):
        visit, place = divmod(position, len(prompts))
        if place == 0 or not batch:
            order = generator(settings.seed, "prompts", visit).permutation(len(prompts))
        prompt_id, ids = prompts[order[place]]
        batch.append((f"{prompt_id}@{visit}", ids))
    return batch


def normalisation_prompts(prompts: Prompts, settings: PpoSettings) -> Prompts:
    """Those whose answers say, before training, how large rewards are."""
    order = generator(settings.seed, "normalise").permutation(len(prompts))
    visits = [(i // len(prompts), prompts[order[i % len(prompts)]]) for i in range(settings.normalise_samples)]
    return [(f"{prompt_id}@normalise-{visit}", ids) for visit, (prompt_id, ids) in visits]
