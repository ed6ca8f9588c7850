"""Every loss that `dpo.loss_types` takes: it trains, and a step of it does not depend on how it is split."""

import math
from typing import get_args

import pytest

from tasks.config.dpo import SORTS_THE_BATCH, DpoLoss
from tests.support.training_stages import (
    EVEN,
    UNEVEN,
    WHOLE,
    base,  # noqa: F401
    dpo_trainer,
    one_step,
)

pytestmark = pytest.mark.compat


@pytest.mark.parametrize("loss", get_args(DpoLoss))
def test_every_loss_trains_alike_however_a_step_is_split(base, tmp_path, loss):
    whole = one_step(dpo_trainer(base, tmp_path, WHOLE, (loss,)))
    assert all(math.isfinite(number) for number in whole) and whole[1] > 0
    for split in () if loss in SORTS_THE_BATCH else (EVEN, UNEVEN):
        assert one_step(dpo_trainer(base, tmp_path, split, (loss,))) == pytest.approx(whole, rel=1e-4)
