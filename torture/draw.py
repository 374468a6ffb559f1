"""What stories are made from: one order's dice, moments and steps, and how most of them begin."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torture.plan import Step


@dataclass(frozen=True, slots=True)
class Draw:
    """What a story is made from."""

    random: random.Random
    order: int
    start: float
    life: int  # seconds until the order expires
    moments: tuple[float, ...] = field(default=())  # at which something happens in its story

    def step(self, at: float, act: str, **args: Any) -> Step:
        """Make a step about this order, `at` seconds after its create."""
        return Step(round(self.start + max(at, 0.0), 3), act, {"order": self.order, **args})

    def any_step(self, at: float, act: str, **args: Any) -> Step:
        """Make a step that is about no order."""
        return Step(round(self.start + max(at, 0.0), 3), act, args)

    def between(self, least: float, most: float) -> float:
        """Draw a number of seconds."""
        return self.random.uniform(least, most)

    def host(self) -> str:
        """Draw a gateway."""
        return self.random.choice("ab")

    def within_life(self) -> float:
        """Draw a moment while the order lives: shortly before something happens, or any."""
        if self.moments and self.random.random() < 0.7:
            return max(self.random.choice(self.moments) - self.random.random() ** 3, 0.0)
        return self.life * self.random.random() ** 2 * 0.9


Steps = Iterator[Step]


def opened(draw: Draw) -> Steps:
    """Open an order, and show its code."""
    yield draw.step(0, "create", host=draw.host())
    yield draw.step(draw.between(0.5, 6), "look")
