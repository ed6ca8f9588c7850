"""What each stage owes the next: kept, broken, or not to be told; and which broken one is named."""

import pytest

from tasks.artifacts import contracts
from tasks.config.shared import ContractsConfig
from tests.support.evaluation_rows import contract_documents

CFG = ContractsConfig(kl_at_start=1e-4, single_sample_share=0.8, waived=())


def test_judged_pairs_of_one_root_tell_nothing():
    documents = contract_documents()
    documents["judge"]["panel"]["agreement_with_reference"]["all"]["accuracy"] |= {"ci_low": None, "ci_high": None}
    contract = contracts.judge_beats_longest(documents["judge"])
    assert contract.holds is None and "one root" in contract.sentence


def test_all_kept():
    kept = contracts.check(CFG, contract_documents(), "dpo")
    assert [contract.holds for contract in kept] == [True] * 6 and contracts.broken(kept) is None
    assert contracts.summary(kept) == "Every stage kept its contract (6 checked)."


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"base": -0.01}, "sft", "SFT beats the base: gold +0.010 [-0.010, +0.030] above the base"),
        ({"longest": 0.895}, "compare", "labels agree with gold in 90.0% [89.0%, 91.0%] of pairs, the longest in 89.5%"),
        ({"longest": 0.08}, "compare", "labels agree with gold in 90.0% [89.0%, 91.0%] of pairs, the shortest in 92.0%"),
        ({"words": 0.84}, "reward", "beats a bag of words: right in 84.0% of 207 held-out pairs, a bag of words in 84.0%"),
        ({"kl": -0.01}, "ppo", "KL is 0 at PPO's start: -0.01 nats per response"),
        ({"dpo": 0.079}, "dpo", "80% of best-of-16's gain: dpo gains +0.079 in gold, best-of-n +0.100"),
    ],
)
def test_each_can_be_broken_and_is_named(changes, stage, words):
    checked = contracts.check(CFG, contract_documents(**changes), "dpo")
    assert contracts.broken(checked).stage == stage
    line = contracts.summary(checked)
    assert line.startswith(f"Likely cause of what is wrong: {stage}. Broken contract: ") and words in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"base": 0.1}, {"dpo": "sft_beats_base", "ppo": "sft_beats_base"}),
        ({"longest": 0.99}, {"dpo": "judge_beats_longest", "ppo": "judge_beats_longest"}),
        ({"words": 0.9}, {"dpo": None, "ppo": "reward_beats_words"}),
        ({"kl": 1.0}, {"dpo": None, "ppo": "ppo_starts_at_sft"}),
        ({"dpo": 0.0, "ppo": 0.09}, {"dpo": "training_reaches_best_of_n", "ppo": None}),
        ({"dpo": 0.09, "ppo": 0.0}, {"dpo": None, "ppo": "training_reaches_best_of_n"}),
    ],
)
def test_a_candidate_stands_on_the_stages_that_made_it(changes, keys):
    """DPO has not met the reward model, nor PPO's rollouts, and neither method gains for the other; every key can be
    waived in params."""
    known = ContractsConfig.model_fields["waived"].annotation.__args__[0].__args__
    for method, key in keys.items():
        checked = contracts.check(CFG, contract_documents(**{"ppo": 0.09, **changes}), method)
        first = contracts.broken(contracts.under(checked, method))
        assert (first and first.key) == key
        assert [contract.key for contract in checked] == list(known)


def test_the_first_in_the_graphs_order_is_the_cause():
    checked = contracts.check(CFG, contract_documents(base=0.1, kl=5.0, dpo=0.0, ppo=-0.1), "ppo")
    assert sum(contract.holds is False for contract in checked) == 3 and contracts.broken(checked).stage == "sft"


def test_what_cannot_be_told_is_not_broken():
    untold = contract_documents(search=0.01) | {"judge": {"pairs": 0}, "reward": {"heldout_pairs": 0.0}, "ppo": {}}
    checked = contracts.check(CFG, untold, "dpo")
    assert [contract.holds for contract in checked] == [True, None, None, None, None, None]
    assert contracts.summary(checked) == "Every stage kept its contract (1 checked, 5 could not be told)."
    assert contracts.check(CFG, {}, None) == []


def test_either_method_may_reach_best_of_n_before_one_is_selected():
    checked = contracts.check(CFG, contract_documents(dpo=-0.2, ppo=0.081), None)
    assert contracts.broken(checked) is None and checked[-1].name.startswith("one sample of DPO or PPO reaches")
    assert contracts.check(CFG, contract_documents(), "ppo")[-1].name.startswith("one sample of PPO reaches 80%")


def test_a_checkpoint_may_reach_best_of_n():
    """The candidate can be a checkpoint, which stands beside the policies where training left them."""
    documents = contract_documents(dpo=0.0, ppo=0.0)
    documents["evaluate"]["versus_sft"]["dpo step-116"] = {"difference": 0.09, "ci_low": 0.07, "ci_high": 0.11}
    reached = contracts.check(CFG, documents, "dpo")[-1]
    assert reached.holds and reached.sentence == "dpo step-116 gains +0.090 in gold, best-of-n +0.100"
