"""`checkstand retention` as the program it is."""

from typing import Any


def test_retention_counts_and_forgets(on_postgres: Any) -> None:
    counted = on_postgres.ends("retention", "--dry-run")
    forgot = on_postgres.ends("retention")

    assert counted.code == forgot.code == 0
    assert counted.out.splitlines() == ["notices 0", "orphans 0", "buyers 0", "keys 0"]
