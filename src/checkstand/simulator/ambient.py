"""The host's clock and the randomness, so that the rest of the room is handed both.

With a seed, ids and probable faults repeat from run to run. Nothing here guards real money, so
an ordinary generator serves.
"""

import random
import string
import time

_ALPHANUMERIC = string.ascii_letters + string.digits


def host_now_ms() -> int:
    """Return the host's Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Randomness:
    """Makes ids, tokens and chances; the same ones again from the same seed."""

    def __init__(self, seed: int | str | None = None) -> None:
        self._seed = seed
        self._branches: list[Randomness] = []
        self._random = random.Random(seed)  # noqa: S311 - simulated ids guard nothing

    def branch(self, name: str) -> "Randomness":
        """Return randomness of its own, which follows from the same seed."""
        branch = Randomness(None if self._seed is None else f"{self._seed}:{name}")
        self._branches.append(branch)
        return branch

    def turn(self, page: str) -> None:
        """Begin anew, branches included, with what follows from the seed and the page's name."""
        self._random.seed(None if self._seed is None else f"{self._seed}:{page}")
        for branch in self._branches:
            branch.turn(page)

    def hex(self, length: int) -> str:
        """Return `length` lowercase hex digits."""
        return f"{self._random.getrandbits(4 * length):0{length}x}"

    def alphanumeric(self, length: int) -> str:
        """Return `length` characters from A-Z, a-z and 0-9."""
        return "".join(self._random.choices(_ALPHANUMERIC, k=length))

    def digits(self, length: int) -> str:
        """Return `length` digits, the first not zero."""
        return str(self._random.randrange(10 ** (length - 1), 10**length))

    def fraction(self) -> float:
        """Return a number from 0 up to 1, for the probability of faults."""
        return self._random.random()
