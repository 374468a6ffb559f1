"""A hundred seeds hold, and half of them run again exactly as they ran; more: make torture."""

from collections import Counter

import pytest

from torture.stage import Stage
from torture.stories import make_plan

SEEDS = range(100)
REPLAYED = SEEDS[::2]
#: What the invariants are about: seeds that no longer come upon it would hold for nothing.
MET = {
    "act halt account",
    "act renew the code",
    "act take the goods in hand",
    "anomaly paid_late",
    "anomaly provider_contradicts",
    "anomaly refunded_elsewhere",
    "anomaly unknown_too_long",
    "desk approve by the second person: 200",
    "desk create refused by a limit",
    "desk day closed",
    "desk deny by the second person: 200",
    "notice orphan",
    "order CANCELED",
    "order EXPIRED",
    "order REFUNDED",
    "orphan EXPIRED",
    "refund FAILED",
    "refund SUCCEEDED",
}


@pytest.mark.timeout(900)
def test_seeds_hold_and_run_again_exactly_as_they_ran(stage: Stage) -> None:
    results = {seed: stage.run(make_plan(seed)) for seed in SEEDS}
    replays = {seed: stage.run(make_plan(seed)) for seed in REPLAYED}

    violations = {seed: r.violations for seed, r in results.items() if r.violations}
    assert violations == {}
    assert [s for s in REPLAYED if replays[s].digest != results[s].digest] == []
    met = sum((result.met for result in results.values()), Counter[str]())
    assert sorted(MET - set(met)) == []
    assert sum(result.crashes for result in results.values()) > 10
    assert sum(result.faults.total() for result in results.values()) > 200
