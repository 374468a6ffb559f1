"""A hundred seeds hold, and half of them run again exactly as they ran; more: make torture."""

import pytest

from torture.stage import Stage
from torture.stories import make_plan

SEEDS = range(100)
REPLAYED = SEEDS[::2]


@pytest.mark.timeout(900)
def test_seeds_hold_and_run_again_exactly_as_they_ran(stage: Stage) -> None:
    results = {seed: stage.run(make_plan(seed)) for seed in SEEDS}
    replays = {seed: stage.run(make_plan(seed)) for seed in REPLAYED}

    violations = {seed: r.violations for seed, r in results.items() if r.violations}
    assert violations == {}
    assert [s for s in REPLAYED if replays[s].digest != results[s].digest] == []
    assert sum(result.crashes for result in results.values()) > 10
    assert sum(result.faults.total() for result in results.values()) > 200
