"""False promotions and coverage by simulation, on a part of the grid of docs/statistics.md; the document is whole."""

import numpy as np
import pytest

from benchmarks import verdicts
from benchmarks.verdicts import ALPHA, INTERVALS, ROWS, TESTS, World, share

TRIALS = 250
SMALL = ((6, 10, 1.0), (10, 4, 0.6), (21, 4, 0.5), (21, 4, 1.0), (60, 1, 0.0), (60, 10, 0.3))
WORLDS = [World((variants,) * roots, correlation) for roots, variants, correlation in SMALL]
WORLDS.append(World(verdicts.UNEVEN, 0.6))
COVERED = [World((4,) * 10, 0.6), World((4,) * 40, 0.3), World(verdicts.UNEVEN, 0.6)]


def named(world: World) -> str:
    return f"{len(world.sizes)} roots of {max(world.sizes)}, {world.correlation:g}"


@pytest.mark.parametrize("world", WORLDS, ids=named)
def test_each_test_of_the_gate_keeps_its_alpha(world):
    """Nominal 2.5%, and no more than three binomial errors above: 5.5% of 250."""
    bound = ALPHA + 3 * (ALPHA * (1 - ALPHA) / TRIALS) ** 0.5
    rates = {name: share(trial, world, TRIALS) for name, trial in TESTS.items()}
    assert max(rates.values()) <= bound, rates


@pytest.mark.parametrize("world", COVERED, ids=named)
def test_each_interval_covers(world):
    """Nominal 95%, and no less than three binomial errors below: 90.9% of 250."""
    rates = {name: share(trial, world, TRIALS) for name, trial in INTERVALS.items()}
    assert min(rates.values()) >= 0.95 - 3 * (0.95 * 0.05 / TRIALS) ** 0.5, rates


@pytest.mark.parametrize("name", verdicts.RESAMPLED)
def test_each_resampled_interval_covers(name):
    """Of 100 data sets of 40 questions: no less than three binomial errors below 95%."""
    held = share(verdicts.RESAMPLED[name], World((2,) * 40, 0.3), 100)
    assert held >= 0.95 - 3 * (0.95 * 0.05 / 100) ** 0.5


def test_power_is_not_thrown_away():
    """60 questions of 4: a win rate of 0.65 and an unchanged rate are seen; what never passes keeps any alpha."""
    world = World((4,) * 60, 0.3)
    assert share(lambda *here: verdicts.promoted(*here, win_rate=0.65), world, 100) > 0.85
    assert share(lambda *here: verdicts.let_through(*here, lost=0.02, gained=0.02), world, 100) > 0.85


def test_the_worlds_are_what_they_say():
    """Rate and correlation within roots of 20,000 roots of two: (P(both) - p^2) / (p (1 - p))."""
    for correlation in (0.0, 0.3, 1.0):
        pairs = World((2,) * 20_000, correlation).happens(0.2, np.random.default_rng(0)).reshape(-1, 2)
        assert pairs.mean() == pytest.approx(0.2, abs=0.01)
        assert (pairs.all(axis=1).mean() - 0.04) / 0.16 == pytest.approx(correlation, abs=0.03)
        drawn = np.random.default_rng(1).standard_normal
        values = World((2,) * 20_000, correlation).values(drawn, np.random.default_rng(2))
        assert np.corrcoef(values.reshape(-1, 2).T)[0, 1] == pytest.approx(correlation, abs=0.03)


def test_the_document_holds_every_table(capsys, monkeypatch):
    monkeypatch.setattr(verdicts, "ROWS", {"6": tuple(verdicts.worlds(6))})
    assert verdicts.main(["--trials", "10"]) == 0
    written, printed = verdicts.DOCS.read_text(encoding="utf-8"), capsys.readouterr().out
    for group, _ in verdicts.SIMULATIONS:
        for caption in group:
            assert f"**{caption}**" in printed and f"**{caption}**" in written
    assert all(f"\n| {name} |" in written for name in ROWS) and verdicts.BELOW in written
