"""The judging benchmarks: pure parts by hand, our side against the real server; TRL 1.0.0 is not needed."""

import json
from dataclasses import asdict, replace

import pytest

from benchmarks.child import Peer
from benchmarks.judging import __main__ as command, ideal, race
from benchmarks.judging.endpoint import Log, serving
from benchmarks.judging.questions import ordered_pairs, rule
from benchmarks.judging.report import document, promises
from benchmarks.judging.server import Call, Faults
from benchmarks.measure import Comparison, Cost, times_faster_at_least

# Two questions at 2 and 4 seconds; the first was refused once, the second once dropped and answered twice.
CALLS = [Call("0+", "429", 1.0), Call("0+", "answered", 2.0), Call("0-", "dropped", 3.0), Call("0-", "answered", 4.0),
         Call("0-", "answered", 6.0)]  # fmt: skip
FAST = Faults(latency=0.01, jitter=0.005, too_many=0.05, retry_after=0.01, dropped=0.05, malformed=0.05)
WORK = race.Workload(60, 30, 200, {"concurrency": 8, "attempts": 9, "first_wait": 0.01, "longest_wait": 0.05}, FAST)


def test_the_ideal_by_hand():
    """Two slots: (1 + 2 + 3 + 4) / 2 for what the server made necessary, (2 + 4) / 2 had it not failed. The second
    answer to the second question was not necessary."""
    assert ideal.ideal_seconds(CALLS, 2) == 5.0
    assert ideal.faultless_seconds(CALLS, 2) == 3.0
    run = race.Run(2, 10.0, 1.0, [1.0, 0.0], Log(CALLS, 2))
    assert run.share_of_ideal(2) == 0.5 and run.share_of_faultless(2) == 0.3
    assert ideal.outcomes(CALLS) == {"429": 1, "answered": 3, "dropped": 1}


def test_labels_by_hand():
    """Of three questions one has one answer, one has two and one has none."""
    labels = ideal.labels(CALLS, 3)
    assert labels == ideal.Labels(once=1, missing=1, repeated=1) and not labels.exact
    assert ideal.labels(CALLS[:4], 2) == ideal.Labels(2, 0, 0) and ideal.labels(CALLS[:4], 2).exact


@pytest.mark.parametrize(
    ("stored", "exact"), [((2, 2, 4), True), ((2, 1, 4), False), ((1, 1, 4), False), ((2, 2, 3), False)]
)
def test_exactly_once_is_by_both_counts(stored, exact):
    """A verdict that is missing or invalid in the store, or a call that nobody paid for, is not exactly once."""
    assert race.Run(2, 1.0, 1.0, [1.0, 0.0], Log(CALLS[:4], 2), stored).labelled_exactly_once is exact


def test_a_kill_may_repeat_what_was_in_flight():
    assert race.Kill(200, 8, 100, 8, repeated=8, missing=0).kept
    assert not race.Kill(200, 8, 100, 8, repeated=9, missing=0).kept
    assert not race.Kill(200, 8, 100, 8, repeated=0, missing=1).kept


def test_the_rule_answers_both_judges():
    """Each pair is shown in both orders; the better answer is named in JSON, or for TRL's judge as one character."""
    better_first, better_second = ordered_pairs(2)
    assert (better_first.first, better_first.second) == (better_second.second, better_second.first)
    for pair, letter, digit in ((better_first, "A", "0"), (better_second, "B", "1")):
        message = {"messages": [{"role": "user", "content": f"{pair.prompt}\n{pair.first}\n{pair.second}"}]}
        assert set(json.loads(rule(message)).values()) == {letter}
        assert rule({**message, "max_tokens": 1}) == digit


def test_our_side_labels_everything_once_and_survives_a_kill():
    """Real processes, real sockets, real faults; 60 questions, and 200 that are killed half-way."""
    with serving() as endpoint:
        run = race._run("ours", WORK, 60, FAST, endpoint, None)
        assert run.labelled_exactly_once and run.right == 60
        assert len(run.log.calls) > 60 and 1 < run.log.most_in_flight <= 8
        assert 0 < run.share_of_faultless(8) < run.share_of_ideal(8) < 1
        slow = replace(WORK, faults=replace(FAST, latency=0.05))
        assert race._kill(slow, endpoint).kept


def test_a_missing_trl_and_a_side_that_fails(tmp_path):
    with serving() as endpoint:
        with pytest.raises(ValueError, match="has no TRL with OpenAIPairwiseJudge; `make bench-judge` installs"):
            peer = Peer(tmp_path, "1.0.0", "OpenAIPairwiseJudge", "judges", "bench-judge")
            race._run("theirs", WORK, 2, FAST, endpoint, peer)
        with pytest.raises(RuntimeError, match="(?s)ours failed:\n.*unexpected keyword argument 'haste'"):
            race._run("ours", replace(WORK, asking={"haste": 1}), 2, FAST, endpoint, None)


def test_the_document_and_the_promises(tmp_path):
    run = race.Run(2, 12.0, 1.0, [1.0, 0.0], Log(CALLS[:4], 2), (2, 2, 4))
    theirs = race.Run(2, 120.0, 1.0, [1.0, None], Log(CALLS, 2), failure="APIConnectionError")
    # Necessary are 1 + 2 + 3 + 4 seconds in 8 slots, 1.25 of 12.
    comparison = Comparison("x", (Cost(1.0, 1.0),), (Cost(10.0, 1.0),), times_faster_at_least(8.0))
    whole = race.Race(WORK, [run], [theirs], comparison, race.Kill(200, 8, 100, 8, 9, 0))
    assert [kept for _, kept in promises(whole)] == [True, False, True, False]
    written = document(whole, 1)
    assert written["ours"][0]["answers"] == asdict(ideal.Labels(2, 0, 0))
    assert written["theirs"][0]["without_verdict"] == 1 and written["theirs"][0]["gave_up_with"] == "APIConnectionError"
    share = json.loads(json.dumps(written))["share_of_ideal"]
    assert share == {"median": 0.1042, "promise": "at least 0.9", "kept": False}
    assert str(tmp_path.parent) not in json.dumps(written)


def test_the_command_line_takes_its_waits_from_params():
    work = command.workload(command.options(["--quick", "--concurrency", "4"]))
    assert (work.questions, work.concurrency, work.faults) == (400, 4, race.FAULTS)
    assert work.asking == {"concurrency": 4, "attempts": 6, "first_wait": 1.0, "longest_wait": 60.0}
