"""An event to handle, and both memories of events under the same tests."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from checkstand.receiver import Event, MemorySeenEvents, SeenEvents, SqliteSeenEvents


@pytest.fixture
def event() -> Event:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    nothing: dict[str, Any] = {}
    return Event(
        id="event-1",
        type="order.paid",
        created_at=now,
        account_id="account-1",
        order_version=1,
        order=nothing,
        data=nothing,
        raw=b"{}",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen.sqlite3"


@pytest.fixture(params=["memory", "sqlite"])
def seen(request: pytest.FixtureRequest, path: Path) -> SeenEvents:
    return MemorySeenEvents() if request.param == "memory" else SqliteSeenEvents(path)
