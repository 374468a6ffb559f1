"""The witness: when a gateway was last at the database, written down outside of it.

It is written after the database has the same moment, so it is never newer, unless the database
was put back to an earlier point, whoever did it and by whatever means.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path


class WitnessFile:
    """A small JSON file in the data directory. Reading and writing block for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, datetime]:
        """Return the moments by account reference; none where there is no readable file.

        A reference is made anew in each database and comes back with a restored one, so that two
        databases may take turns beside one directory.
        """
        try:
            found = json.loads(self._path.read_text("utf-8"))
            return {key: datetime.fromisoformat(text) for key, text in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def write(self, moments: Mapping[str, datetime]) -> None:
        """Replace the file whole. Raises OSError."""
        text = json.dumps({key: moment.isoformat() for key, moment in moments.items()})
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
