"""Make a failing plan short: leave out steps for as long as the same thing still goes wrong."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from torture.plan import Plan, Step
from torture.stage import Result


def kinds_of(result: Result) -> set[str]:
    """Return the names of the invariants that were violated."""
    return {violation.partition(":")[0] for violation in result.violations}


def shrink(plan: Plan, run: Callable[[Plan], Result]) -> Plan:
    """Return a plan from which no step can be left out."""
    wanted = kinds_of(run(plan))
    if not wanted:
        return plan

    def fails(steps: Iterable[Step]) -> bool:
        return bool(wanted & kinds_of(run(replace(plan, steps=tuple(steps)))))

    steps = list(plan.steps)
    size = max(len(steps) // 2, 1)
    while True:
        start, has_shrunk = 0, False
        while start < len(steps):
            shorter = steps[:start] + steps[start + size :]
            if fails(shorter):
                steps, has_shrunk = shorter, True
            else:
                start += size
        if size == 1 and not has_shrunk:
            return _without_skews(replace(plan, steps=tuple(steps)), wanted, run)
        size = max(size // 2, 1)


def _without_skews(plan: Plan, wanted: set[str], run: Callable[[Plan], Result]) -> Plan:
    """Put the clocks right too, where they do not matter."""
    right = replace(plan, skews=(0.0, 0.0))
    if wanted & kinds_of(run(right)):
        plan = right
    right = replace(plan, database_skew=0.0)
    return right if wanted & kinds_of(run(right)) else plan
