"""A plan: what people do and what breaks, when. It is what runs, so it can be cut shorter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Orders from this number on are further ones, each like the plan's order of its last digits.
FURTHER: Final = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, by its name in the table of actions."""

    at: float  # virtual seconds since the beginning
    act: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = " ".join(f"{name}={value}" for name, value in self.args.items())
        return f"{self.at:9.3f}  {self.act}  {said}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run follows from."""

    seed: int
    skews: tuple[float, float] = (0.0, 0.0)  # of the two hosts, in seconds
    database_skew: float = 0.0
    fulfils_on_delivery: bool = False
    close_delay_ms: int = 100  # from an accepted close until Binance lets nobody pay any more
    refund_delay_ms: int = 100  # likewise for refunds
    refund_query_is_current: bool = False  # its sums are of now; else as that refund left them
    portal_refunds_use_attempts: bool = False
    orders: tuple[Mapping[str, Any], ...] = ()  # the bodies of their creates
    steps: tuple[Step, ...] = ()
    story: str = ""

    def render(self) -> str:
        """Write it for a person."""
        head = (
            f"seed {self.seed}: {self.story}; hosts {self.skews[0]:+.1f} s and "
            f"{self.skews[1]:+.1f} s, database {self.database_skew:+.1f} s; "
            f"closes take {self.close_delay_ms} ms, refunds {self.refund_delay_ms} ms; "
            f"a refund query tells {'what is' if self.refund_query_is_current else 'what was'}, "
            f"portal refunds use {'one attempt' if self.portal_refunds_use_attempts else 'none'}"
        )
        bodies = [f"  order {n}: {dict(body)}" for n, body in enumerate(self.orders)]
        return "\n".join([head, *bodies, *map(str, self.steps)])
