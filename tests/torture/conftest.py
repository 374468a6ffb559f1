"""One PostgreSQL and one stage for every test of the simulation."""

from collections.abc import Iterator

import pytest

from torture.many import serving_postgres
from torture.stage import Stage


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """Where plans run, one after the other."""
    with serving_postgres() as server:
        server.ensure_database("torture")
        with Stage(server.url(database="torture")) as opened:
            yield opened
