"""The embedded database's keeper is killed under a running gateway, which brings it back."""

import os
import signal
from pathlib import Path

from checkstand.storage.embedded import EmbeddedPostgres
from tests.conftest import RunGateway


async def test_gateway_goes_on_when_the_supervisor_of_its_embedded_database_was_killed(
    run_gateway: RunGateway, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    async with run_gateway(database_url=None, data_dir=data_dir) as gateway:
        before = await gateway.create()
        with EmbeddedPostgres.start(data_dir / "postgres") as another_user:
            killed = another_user.supervisor_pid

        os.kill(killed, signal.SIGKILL)
        answers = [(await gateway.create()).status for _ in range(20)]

        known = await gateway.order(before.json["order_id"])
        assert known["status"] == "PENDING_PAYMENT"
        assert answers[-1] == 201, answers
        assert set(answers) <= {201, 202, 503}
        with EmbeddedPostgres.start(data_dir / "postgres") as another_user:
            assert another_user.supervisor_pid != killed
