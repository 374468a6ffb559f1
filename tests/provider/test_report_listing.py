"""The name of a report file says what it lists and of which day, or nothing at all."""

from datetime import date

import pytest

from checkstand.domain.report_line import LineKind
from checkstand.provider.report_listing import ListedFile, kind_and_day_of

DAY = date(2026, 1, 31)


@pytest.mark.parametrize(
    ("name", "kind", "day"),
    [
        ("T_Payment_20260131.xls", LineKind.PAYMENT, DAY),
        ("T_Payment_20260131 (1).xls", LineKind.PAYMENT, DAY),
        ("T_Payout_20260131.csv", LineKind.PAYOUT, DAY),
        ("S_Refund_20260131.xls", LineKind.REFUND, DAY),
        ("S_Payment_20260131.xls", None, DAY),  # listed a second time, when they are settled
        ("T_Other_20260131.xls", None, DAY),
        ("T_Payment_20260231.xls", None, None),
        ("T_Payment_99991231.xls", None, None),
        ("T_Payment_00010101.xls", None, None),
        ("T_Payment_202601310.xls", None, None),
        ("january.xlsx", None, None),
    ],
)
def test_name_says_what_it_says(name: str, kind: LineKind | None, day: date | None) -> None:
    assert kind_and_day_of(name) == (kind, day)


def test_address_of_a_file_is_not_shown() -> None:
    listed = ListedFile(name="T_Payment_20260131.xls", url="https://files.example/secret")

    assert "secret" not in repr(listed)
    assert (listed.kind, listed.day) == (LineKind.PAYMENT, DAY)
