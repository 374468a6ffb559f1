"""What is no matter of points."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardship:
    """What came of one of them."""

    name: str
    title: str
    outcome: str
    violations: Sequence[str] = ()
