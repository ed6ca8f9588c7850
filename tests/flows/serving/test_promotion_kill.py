"""`kill -9` before every single write of a promotion and of a rollback: one champion, and the next run converges."""

import shutil

import pytest

from flows.history import registry
from tests.support import promotion_worker as worker, registry_toy
from tests.support.registry_toy import project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`

TIMES = (registry.PROMOTED, registry.ROLLED_BACK)
MOST_WRITES = 40


def snapshot(world):
    """Aliases, and the tags of every version but for the times; what lies in the registry after all is said."""
    state = registry.read(world.client, "toy")
    tags = {number: _without_times(version.tags) for number, version in state.versions.items()}
    return dict(state.aliases), tags, dict(state.tags)


def _without_times(tags):
    return {key: "some time" if key in TIMES else value for key, value in tags.items()}


class Scene:
    """A registry before something is done to it, put back as often as needed."""

    def __init__(self, world, tmp_path):
        self.world, self.saved, self.places = world, tmp_path / "saved.db", (world.uri, world.root, world.state)
        shutil.copy(world.database, self.saved)

    def again(self):
        shutil.copy(self.saved, self.world.database)


def first(world):
    return world.gate("gpt2")


def second(world):
    return world.gate("qwen2", **registry_toy.against("gpt2"))


def champions(world):
    """The version that serves; None before the first."""
    state = registry.read(world.client, "toy")
    champion = state.champion
    assert champion is None or registry.REPLACES in champion.tags
    return champion.number if champion else None


@pytest.mark.slow
def test_the_first_promotion_is_killed_anywhere(world, tmp_path):
    asked = first(world)
    scene = Scene(world, tmp_path)
    _, writes = worker.promote_there(*scene.places, asked, None)
    expected = snapshot(world)
    assert expected[0] == {"champion": 1} and len(writes) >= 12
    for die_at in range(len(writes)):
        scene.again()
        assert worker.killed(worker.promote_there, *scene.places, asked, None, die_at), f"before {writes[die_at]}"
        assert champions(world) in (None, 1)
        outcome, _ = worker.promote_there(*scene.places, asked, None)
        assert outcome.word == "promoted"
        assert snapshot(world) == expected, f"killed before write {die_at}, {writes[die_at]}"


def test_a_promotion_over_a_champion_is_killed_anywhere(world, tmp_path):
    worker.promote_there(world.uri, world.root, world.state, first(world), None)
    asked = second(world)
    scene = Scene(world, tmp_path)
    _, writes = worker.promote_there(*scene.places, asked, 1)
    expected = snapshot(world)
    assert expected[0] == {"champion": 2} and expected[1][2]["replaces"] == "v1" and len(writes) >= 12
    for die_at in range(len(writes)):
        scene.again()
        assert worker.killed(worker.promote_there, *scene.places, asked, 1, die_at), f"before {writes[die_at]}"
        assert champions(world) in (1, 2)
        outcome, _ = worker.promote_there(*scene.places, asked, 1)
        assert outcome.word == "promoted"
        assert snapshot(world) == expected, f"killed before write {die_at}, {writes[die_at]}"


def test_a_promotion_killed_again_and_again_gets_there(world):
    """Each attempt lives one write longer than the last."""
    asked = first(world)
    for die_at in range(MOST_WRITES):
        if not worker.killed(worker.promote_there, world.uri, world.root, world.state, asked, None, die_at):
            break
    assert champions(world) == 1 and die_at < MOST_WRITES - 1
    assert snapshot(world)[2] == {}, "no claim is left"


def test_a_rollback_is_killed_anywhere(world, tmp_path):
    worker.promote_there(world.uri, world.root, world.state, first(world), None)
    worker.promote_there(world.uri, world.root, world.state, second(world), 1)
    scene = Scene(world, tmp_path)
    _, writes = worker.take_back_there(*scene.places)
    expected = snapshot(world)
    assert expected[0] == {"champion": 1} and len(writes) >= 6
    for die_at in range(len(writes) + 1):
        scene.again()
        worker.killed(worker.take_back_there, *scene.places, die_at)
        assert champions(world) in (1, 2)
        if registry.JOURNAL in snapshot(world)[2] or champions(world) == 2:
            worker.take_back_there(*scene.places)
        registry_after = snapshot(world)
        assert registry_after[:2] == expected[:2], f"killed before write {die_at}"
