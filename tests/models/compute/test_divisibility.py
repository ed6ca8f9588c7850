"""Which sizes divide which, and the nearest that do."""

import pytest

from models.compute.divisibility import check_divides


def test_sizes_that_divide_pass():
    check_divides(128, "batch_size", 64, "minibatch_size")


@pytest.mark.parametrize("whole, words", [(60, "60 is not divisible by part=16; set ppo.whole to 48 or 64"),
                                          (8, "8 is not divisible by part=16; set ppo.whole to 16")])
def test_the_nearest_that_work_are_named(whole, words):
    with pytest.raises(ValueError) as caught:
        check_divides(whole, "whole", 16, "part", section="ppo.")
    assert str(caught.value) == f"whole={words}"
