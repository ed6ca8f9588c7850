"""What each stage owes the next, read from the metrics files; the first that is broken is the likely cause.

"Is my SFT model bad, my reward model, or my PPO settings?" A stage on broken ground cannot be judged by its numbers,
so the contracts stand in the order of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.config.shared import ContractsConfig

Document = Mapping[str, Any]
DOCUMENTS = ("evaluate", "judge", "reward", "ppo")  # the metrics files that `check` reads
GROUND = {  # selected method -> the stages that its candidate stands on
    "dpo": ("sft", "compare", "dpo"),
    "ppo": ("sft", "compare", "reward", "ppo"),
}


@dataclass(frozen=True)
class Contract:
    """`key`: its name in params. `holds`: None where the run has nothing to tell it by. `sentence`: what was seen."""

    key: str
    stage: str
    name: str
    holds: bool | None
    sentence: str


def check(cfg: ContractsConfig, documents: Mapping[str, Document], method: str | None) -> list[Contract]:
    """The contracts of the documents that are there, by name of the metrics file, in the graph's order.

    `method`: the candidate's; None before one is selected.
    """
    contracts: list[Contract] = []
    if "evaluate" in documents:
        contracts.append(sft_beats_base(documents["evaluate"]))
    if "judge" in documents:
        contracts.append(judge_beats_longest(documents["judge"]))
    if "reward" in documents:
        contracts += reward_beats_baselines(documents["reward"])
    if "ppo" in documents:
        contracts.append(ppo_starts_at_sft(documents["ppo"], cfg.kl_at_start))
    if "evaluate" in documents:
        contracts.append(training_reaches_best_of_n(documents["evaluate"], cfg.single_sample_share, method))
    return contracts


def under(contracts: Sequence[Contract], method: str) -> list[Contract]:
    """Those that a candidate of `method` stands on: a DPO candidate has not met the reward model, say."""
    return [contract for contract in contracts if contract.stage in GROUND.get(method, ("sft", "compare", method))]


def broken(contracts: Sequence[Contract]) -> Contract | None:
    """The first that does not hold: the likely cause of whatever is wrong after it."""
    return next((contract for contract in contracts if contract.holds is False), None)


def summary(contracts: Sequence[Contract]) -> str:
    """One line for `plumb status`, the report and the end of the flow."""
    first = broken(contracts)
    if first:
        return f"Likely cause of what is wrong: {first.stage}. Broken contract: {first.name}: {first.sentence}"
    kept = sum(contract.holds is True for contract in contracts)
    untold = len(contracts) - kept
    return f"Every stage kept its contract ({kept} checked{f', {untold} could not be told' if untold else ''})."


# --- the contracts ---


def sft_beats_base(evaluation: Document) -> Contract:
    """Demonstrations must have taught something: gold of SFT above the base's, on the same prompts."""
    contract = partial(Contract, "sft_beats_base", "sft", "SFT beats the base")
    base = evaluation["versus_sft"].get("base")
    if base is None:
        return contract(None, "the base did not answer")
    gain, low, high = -base["difference"], -base["ci_high"], -base["ci_low"]
    sentence = f"gold {gain:+.3f} [{low:+.3f}, {high:+.3f}] above the base"
    return contract(low > 0, sentence)


def judge_beats_longest(card: Document) -> Contract:
    """Labels must agree with gold more than "pick the longest" or "pick the shortest" does, or length is all that they
    teach."""
    contract = partial(Contract, "judge_beats_longest", "compare", "the judge beats picking the longest")
    agreement = card["panel"]["agreement_with_reference"]["all"] if card.get("pairs") else {}
    labels, longest = agreement.get("accuracy"), (agreement.get("pick_longest") or {}).get("accuracy")
    if not labels or not longest:
        return contract(None, "no pair was judged that gold could check")
    if labels["ci_low"] is None:
        return contract(None, "all judged pairs belong to one root, which says nothing of others")
    theirs = max(longest["value"], 1 - longest["value"])  # pairs of one length are half right either way
    sentence = (
        f"labels agree with gold in {labels['value']:.1%} [{labels['ci_low']:.1%}, {labels['ci_high']:.1%}] of pairs, "
        f"the {'longest' if theirs == longest['value'] else 'shortest'} in {theirs:.1%}"
    )
    return contract(labels["ci_low"] > theirs, sentence)


def reward_beats_baselines(metrics: Document) -> Iterator[Contract]:
    """The reward model must order held-out pairs better than length alone and than counted words do.

    By the shares themselves: hearth's 207 held-out pairs are of 18 roots, and by root the reward model is ahead of words
    by +0.034 [-0.159, +0.214]; a rule on that interval could tell nothing.
    """
    for baseline, what in (("length", "length alone"), ("words", "a bag of words")):
        contract = partial(Contract, f"reward_beats_{baseline}", "reward", f"the reward model beats {what}")
        ours, theirs = metrics.get("accuracy"), metrics.get(f"accuracy_of_{baseline}")
        if ours is None or theirs is None:
            yield contract(None, "no comparison is held out")
            continue
        said = f"right in {ours:.1%} of {metrics['heldout_pairs']:.0f} held-out pairs, {what} in {theirs:.1%}"
        yield contract(ours > theirs, said)


def ppo_starts_at_sft(metrics: Document, tolerance: float) -> Contract:
    """PPO's first rollout is SFT's: a KL other than 0 there means other weights, masks or temperatures."""
    kl = metrics.get("kl_first")
    contract = partial(Contract, "ppo_starts_at_sft", "ppo", "KL is 0 at PPO's start")
    if kl is None:
        return contract(None, "PPO logged no KL")
    return contract(abs(kl) <= tolerance, f"{kl:.2g} nats per response in the first rollout")


def training_reaches_best_of_n(evaluation: Document, share: float, method: str | None) -> Contract:
    """One sample of the candidate's method, from any of its checkpoints, must reach `share` of best-of-n's gain: the same
    preferences, found by search. Before there is a candidate (`method` None) any method may reach it."""
    methods = (method,) if method else tuple(GROUND)
    named = " or ".join(map(str.upper, methods))
    name = f"one sample of {named} reaches {share:.0%} of best-of-{evaluation['n']}'s gain"
    contract = partial(Contract, "training_reaches_best_of_n", " and ".join(methods), name)
    versus = evaluation["versus_sft"]
    search = versus.get("best_of_n", {}).get("difference")
    trained = {name: versus[name]["difference"] for name in versus if name.partition(" ")[0] in methods}
    if search is None or not trained:
        return contract(None, "best-of-n or the trained policies did not answer")
    if versus["best_of_n"]["ci_low"] <= 0:
        return contract(None, f"best-of-n itself gains nothing for sure ({search:+.3f})")
    best = max(trained, key=lambda name: trained[name])
    said = f"{best} gains {trained[best]:+.3f} in gold, best-of-n {search:+.3f}"
    return contract(trained[best] >= share * search, said)
