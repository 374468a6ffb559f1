"""Every state within reach keeps the law: what is tried, and how far, is in `state_tables`.

Two worlds: one whose Binance tells the truth while everything else goes wrong, and one in which
anything is said. `python -m tests.domain.state_tables` goes further.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from checkstand.domain.schedule import NextStep, next_step
from checkstand.operations.advance_attempt import note_sending
from tests.domain.honest import acts, ends
from tests.domain.state_tables import HEARSAY, HONEST, walk_goods, walk_hearsay, walk_honest


@pytest.mark.parametrize("name", HONEST)
def test_honest_binance_and_two_hands_keep_the_law(name: str) -> None:
    survey = walk_honest(name, depth=5, states=2_000, faults=1, drain_every=15)

    assert survey.states > 500, survey
    assert len(survey.acts) >= 15, survey.acts


@pytest.mark.parametrize("name", HEARSAY)
def test_whatever_is_said_keeps_the_law(name: str) -> None:
    survey = walk_hearsay(name, depth=3, states=600)

    assert survey.states >= 600, survey


def test_goods_and_money_of_an_order_never_leave_both() -> None:
    survey = walk_goods(depth=8, states=2_000)

    assert survey.states >= 2_000, survey
    assert len(survey.acts) >= 15, survey.acts


@pytest.mark.parametrize(
    ("name", "trail"),
    [
        (  # the answer to the create is recorded before the older "no such order"
            "fresh",
            (
                "claims attempt #1 by 0, time passes, claims attempt #1 by 1, lands #1 ask, "
                "lands #0 submit, recorded #0 submit, recorded #1 ask"
            ),
        ),
        (  # a refund is known to have succeeded before the older "no such refund" is recorded
            "doubtful",
            (
                "claims refund #1 by 0, time passes, claims refund #1 by 1, lands #1 ask, "
                "lands #0 send, Binance ends a refund REFUND_SUCCESS #1, notice REFUND_SUCCESS #1, "
                "recorded #1 ask"
            ),
        ),
    ],
)
def test_answer_that_is_older_than_what_is_known_contradicts_nothing(name: str, trail: str) -> None:
    world = HONEST[name](faults=1)
    for act in trail.split(", "):
        world = dict(acts.acts_of(world))[act]()

    assert world.case.anomalies == ()
    ends.check_end(ends.drain(world))


def test_create_sent_again_is_asked_about_before_it_is_sent_a_third_time(make: Any) -> None:
    # Binance refuses a number it knows, which says nothing: only asking does. Between two hosts'
    # clocks the absence that led to the second send may bear the very time of that send.
    absent_at = make.noon + timedelta(seconds=30)
    attempt = make.attempt("SUBMITTING", absences=1, last_absent_at=absent_at)
    assert next_step(attempt, now=absent_at) is NextStep.SUBMIT

    sent = note_sending(attempt, NextStep.SUBMIT, now=absent_at)

    assert next_step(sent, now=absent_at) is NextStep.ASK
    asked = replace(sent, last_absent_at=absent_at)  # and it is absent still
    assert next_step(asked, now=absent_at) is NextStep.SUBMIT
