"""A failing plan loses every step that has nothing to do with its failure."""

from collections import Counter

from torture.plan import Plan, Step
from torture.shrink import shrink
from torture.stage import Result
from torture.stories import make_plan


def result(seed: int, *violations: str) -> Result:
    return Result(
        seed=seed,
        violations=violations,
        digest="",
        faults=Counter(),
        crashes=0,
        transactions=0,
        met=Counter(),
    )


def fails_where_pay_follows_crash(plan: Plan) -> Result:
    acts = [step.act for step in plan.steps]
    is_bad = "crash" in acts and "pay" in acts[acts.index("crash") :]
    return result(plan.seed, "an_invariant: broken") if is_bad else result(plan.seed)


def test_only_the_steps_that_matter_are_left() -> None:
    noise = [Step(float(n), "look", {"order": 0}) for n in range(20)]
    steps = [*noise[:7], Step(7, "crash"), *noise[7:15], Step(15, "pay"), *noise[15:]]
    plan = Plan(seed=3, skews=(0.0, 90.0), database_skew=3.0, steps=tuple(steps))

    short = shrink(plan, fails_where_pay_follows_crash)

    assert [step.act for step in short.steps] == ["crash", "pay"]
    assert (short.skews, short.database_skew) == ((0.0, 0.0), 0.0)


def test_plan_that_fails_in_no_way_stays_as_it_is() -> None:
    plan = make_plan(5)

    assert shrink(plan, lambda plan: result(plan.seed)) == plan


def test_same_seed_makes_the_same_plan() -> None:
    assert make_plan(17) == make_plan(17)
    assert make_plan(17) != make_plan(18)
