"""The crash matrix's own smoke: a handful of its cells, and two gateways that race.

All of it is `make crash`. PostgreSQL runs with fsync on here, as it does there.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from checkstand.storage.embedded import EmbeddedPostgres
from crash.hardships import Ground, cross_duplicates
from crash.lane import APART, TOGETHER
from crash.matrix import OK, Cell, run_matrix
from crash.programs import running_launcher

#: One kill on each side of what matters: our own commits, Binance's answer, the shop's.
CELLS = [
    Cell("create_unanswered", TOGETHER, "serve", "after binance /v3/order", 1),
    Cell("pay", TOGETHER, "serve", "before commit settle_notices", 1),
    Cell("pay", TOGETHER, "serve", "after delivery", 1),
    Cell("renew", APART, "worker", "after binance /order/close", 1),
    Cell("refund_unanswered", TOGETHER, "serve", "after binance /order/refund", 1),
    Cell("refund_the_rest", APART, "worker", "after binance /order/refund/query", 1),
    Cell("cancel", APART, "gateway", "after commit cancel_order", 1),
]


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that loses nothing, of this module's own."""
    with EmbeddedPostgres.start(tmp_path_factory.mktemp("durable") / "postgres") as server:
        yield server


@pytest.mark.timeout(600)
async def test_what_was_killed_comes_to_the_same_rest(
    durable: EmbeddedPostgres, tmp_path: Path
) -> None:
    matrix = await run_matrix(
        durable,
        directory=tmp_path,
        lanes=len(CELLS),
        idle_seconds=0,
        runs=sorted({(cell.arrangement, cell.path) for cell in CELLS}),
        wanted=lambda cell: cell in CELLS,
    )

    assert matrix.violations == []
    assert sorted(result.cell for result in matrix.results) == sorted(CELLS)
    assert {result.verdict for result in matrix.results} == {OK}


@pytest.mark.timeout(600)
async def test_crossed_duplicates_on_two_gateways_are_each_settled_once(
    durable: EmbeddedPostgres, tmp_path: Path
) -> None:
    async with running_launcher(tmp_path) as launcher:
        ground = Ground(cluster=durable, directory=tmp_path, launcher=launcher)
        _, violations = await cross_duplicates(ground, rounds=2, orders=6)

    assert violations == []
