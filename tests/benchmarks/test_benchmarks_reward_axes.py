"""Shares of held-out pairs on which a reward is right, by hand."""

from benchmarks.reward_axes import Judgement, main, shares
from models.hearth import oracle


def pair(reward_model, implicit, **gold):
    return Judgement({**dict.fromkeys(oracle.AXES, 0.0), **gold}, reward_model, implicit)


def test_shares_by_hand():
    """Two pairs differ in help, one of them in tone as well; the reward model errs where help alone decides."""
    rates = {name: (count, right, implicit) for name, count, right, implicit in shares([
        pair(1.0, 1.0, helpfulness=0.5, friendliness=0.5), pair(-1.0, 2.0, helpfulness=0.5),
        pair(0.3, 0.1, honesty=-1.0),
    ])}
    assert rates == {"helpfulness": (2, 0.5, 1.0), "honesty": (1, 0.0, 0.0), "friendliness": (1, 1.0, 1.0),
                     "helpfulness, tone equal": (1, 0.0, 1.0)}


def test_no_run_is_a_usage_error(capsys):
    assert main([]) == 2 and "usage" in capsys.readouterr().out
