"""What happened, in order: kept as one hash, and as lines for whoever wants to read them."""

import asyncio
import hashlib


class Trace:
    """Hears of every door passing, every turn and every status; equal traces, equal hash."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, keeps_lines: bool) -> None:
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: list[str] | None = [] if keeps_lines else None

    def note(self, who: str, what: str) -> None:
        """Write down one thing at this moment."""
        line = f"{self._loop.time():.6f} {who} {what}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """Return the hash of everything so far."""
        return self._hash.hexdigest()
