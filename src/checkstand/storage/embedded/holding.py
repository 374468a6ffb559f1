"""Stay a user of the embedded server over the death of its supervisor.

A supervisor that is killed takes postgres with it, and nobody but a user starts the next one. Our
connection to it says when it is gone; where the server is then may have changed.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from checkstand.storage.embedded.server import EmbeddedPostgres
from checkstand.storage.embedded.unavailable import EmbeddedUnavailable

_log = structlog.get_logger()

#: Shorter than a caller of the database goes on trying.
_LOOK_EVERY_SECONDS: Final = 0.5
#: What keeps it from starting is for a person to mend: a full disk, most likely.
_REST_SECONDS: Final = 5.0


class HeldServer:
    """The server of a data directory, for as long as somebody holds it."""

    def __init__(self, data_dir: Path) -> None:
        """Start or join the server. Blocks. Raises EmbeddedUnavailable."""
        self._data_dir = data_dir
        self.server = EmbeddedPostgres.start(data_dir)

    async def keep(self, on_restart: Callable[[EmbeddedPostgres], None]) -> None:
        """Start the server again whenever its supervisor was killed; until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            if self.server.is_running():
                continue
            try:
                server = await asyncio.to_thread(EmbeddedPostgres.start, self._data_dir)
            except EmbeddedUnavailable as error:
                _log.error("the embedded database does not start", detail=str(error))
                await asyncio.sleep(_REST_SECONDS)
                continue
            self.server.close()
            self.server = server
            _log.warning("the embedded database had ended and was started again")
            on_restart(server)

    def close(self) -> None:
        """Let go; the last one stops the server."""
        self.server.close()
