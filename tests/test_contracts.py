"""What each stage owes the next: kept, broken, or not to be told; and which broken one is named."""

import pytest

from tasks import contracts
from tasks.config.evaluation import ContractsConfig

CFG = ContractsConfig(kl_at_start=1e-4, single_sample_share=0.8)


def versus(difference, half=0.02):
    return {"difference": difference, "ci_low": difference - half, "ci_high": difference + half}


def documents(base=-0.3, search=0.1, dpo=0.09, ppo=0.02, labels=0.9, longest=0.6, kl=0.0, words=0.8):
    def agreement(value):
        return {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.01, "n": 100}

    found = {
        "evaluate": {
            "n": 16,
            "versus_sft": {"base": versus(base), "best_of_n": versus(search), "dpo": versus(dpo), "ppo": versus(ppo)},
        },
        "judge": {
            "pairs": 100,
            "panel": {"agreement_with_reference": {"all": {
                "accuracy": agreement(labels), "pick_longest": {"accuracy": agreement(longest)},
            }}},
        },
        "reward": {"accuracy": 0.84, "accuracy_of_length": 0.55, "accuracy_of_words": words, "heldout_pairs": 207.0},
        "ppo": {"kl_first": kl},
    }
    return found


def test_judged_pairs_of_one_root_tell_nothing():
    found = documents()
    found["judge"]["panel"]["agreement_with_reference"]["all"]["accuracy"] |= {"ci_low": None, "ci_high": None}
    contract = contracts.judge_beats_longest(found["judge"])
    assert contract.holds is None and "one root" in contract.sentence


def test_all_kept():
    found = contracts.check(CFG, documents())
    assert [contract.holds for contract in found] == [True] * 6 and contracts.broken(found) is None
    assert contracts.summary(found) == "Every stage kept its contract (6 checked)."


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"base": -0.01}, "sft", "SFT beats the base: gold +0.010 [-0.010, +0.030] above the base"),
        ({"longest": 0.895}, "compare", "labels agree with gold in 90.0% [89.0%, 91.0%] of pairs, the longest in 89.5%"),
        ({"longest": 0.08}, "compare", "labels agree with gold in 90.0% [89.0%, 91.0%] of pairs, the shortest in 92.0%"),
        ({"words": 0.84}, "reward", "beats a bag of words: right in 84.0% of 207 held-out pairs, a bag of words in 84.0%"),
        ({"kl": -0.01}, "ppo", "KL is 0 at PPO's start: -0.01 nats per response"),
        ({"dpo": 0.079}, "dpo and ppo", "80% of best-of-16's gain: dpo gains +0.079 in gold, best-of-n +0.100"),
    ],
)
def test_each_can_be_broken_and_is_named(changes, stage, words):
    first = contracts.broken(contracts.check(CFG, documents(**changes)))
    assert first.stage == stage
    line = contracts.summary(contracts.check(CFG, documents(**changes)))
    assert line.startswith(f"Likely cause of what is wrong: {stage}. Broken contract: ") and words in line
    assert "\n" not in line


def test_the_first_in_the_graphs_order_is_the_cause():
    found = contracts.check(CFG, documents(base=0.1, kl=5.0, dpo=0.0, ppo=-0.1))
    assert sum(contract.holds is False for contract in found) == 3 and contracts.broken(found).stage == "sft"


def test_what_cannot_be_told_is_not_broken():
    untold = documents(search=0.01) | {"judge": {"pairs": 0}, "reward": {"heldout_pairs": 0.0}, "ppo": {}}
    found = contracts.check(CFG, untold)
    assert [contract.holds for contract in found] == [True, None, None, None, None, None]
    assert contracts.summary(found) == "Every stage kept its contract (1 checked, 5 could not be told)."
    assert contracts.check(CFG, {}) == []


def test_either_method_may_reach_best_of_n():
    assert contracts.broken(contracts.check(CFG, documents(dpo=-0.2, ppo=0.081))) is None
