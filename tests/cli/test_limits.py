"""`checkstand accounts limits` as the program it is."""

from typing import Any


def test_limits_are_set_shown_and_taken_back(on_postgres: Any) -> None:
    empty = on_postgres.ends("accounts", "limits", "show")
    on_postgres.ends("accounts", "limits", "set", "order_amount", "1000.00", "--currency", "USDT")
    both = on_postgres.ends("accounts", "limits", "set", "open_orders_per_buyer", "3")
    after = on_postgres.ends("accounts", "limits", "set", "order_amount", "none", "--currency=USDT")
    wrong = on_postgres.ends("accounts", "limits", "set", "speed", "3")

    assert (empty.code, empty.out) == (0, "no limits\n")
    assert both.out.splitlines() == ["open_orders_per_buyer 3", "order_amount 1000.00 USDT"]
    assert after.out.splitlines() == ["open_orders_per_buyer 3"]
    assert wrong.code == 2
    assert "there is no limit 'speed'" in wrong.err
