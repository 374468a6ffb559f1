"""Which answers stop an account, and which are no reason to."""

from uuid import UUID

import pytest

from checkstand.domain.suspicion import why_suspect

_FOUND, _MISSING = "000000", "400202"


def _answers(*codes: str, attempts: int = 20) -> list[tuple[UUID, str | None]]:
    return [(UUID(int=n % attempts), code) for n, code in enumerate(codes)]


@pytest.mark.parametrize(
    ("missing", "found", "stops"),
    [(10, 0, True), (20, 0, True), (16, 4, True), (9, 0, False), (15, 5, False), (8, 2, True)],
)
def test_account_stops_when_most_of_enough_answers_find_nothing(
    missing: int, found: int, stops: bool
) -> None:
    answers = _answers(*[_MISSING] * missing, *[_FOUND] * found)

    assert (why_suspect(answers) is not None) == stops


def test_only_the_newest_count() -> None:
    answers = _answers(*[_FOUND] * 20, *[_MISSING] * 100)

    assert why_suspect(answers) is None


def test_one_order_that_binance_lost_stops_nobody() -> None:
    assert why_suspect(_answers(*[_MISSING] * 20, attempts=2)) is None
    assert why_suspect(_answers(*[_MISSING] * 20, attempts=3)) is not None
