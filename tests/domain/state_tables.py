"""Walk the state tables further than `make test` has time for, and say how much was seen.

    python -m tests.domain.state_tables [--world NAME] [--depth N] [--faults N] [--states N]
                                        [--drain-every N]

Every state is held against the law; every so-manyeth is also left alone until nothing is left to
do (`drain`), and then Binance's books and ours must agree. Exit code 1 at the first violation,
after its trail.
"""
# ruff: noqa: T201

import argparse
import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tests.domain import goods, hearsay
from tests.domain.exploring import Survey, Violation, explore
from tests.domain.honest import acts, ends
from tests.domain.honest.house import fresh_world
from tests.domain.honest.world import HonestWorld

HONEST: Final[dict[str, Callable[..., HonestWorld]]] = {
    "fresh": fresh_world,
    "opened": acts.opened_world,
    "paid": acts.paid_world,
    "refunding": acts.refunding_world,
    "doubtful": acts.doubtful_world,
}
HEARSAY: Final[dict[str, Callable[[], hearsay.Hearsay]]] = {
    "hearsay": hearsay.fresh_world,
    "hearsay-fiat": partial(hearsay.fresh_world, price=None),
    "hearsay-paid": hearsay.paid_world,
}
GOODS: Final = "goods"


def walk_honest(
    name: str, *, depth: int, states: int, faults: int, drain_every: int, watch: Any = None
) -> Survey:
    """Walk a world whose Binance tells the truth. Raises Violation."""
    numbers = itertools.count(1)

    def check(world: HonestWorld) -> None:
        ends.check(world)
        if next(numbers) % drain_every:
            return
        end = ends.drain(world)
        ends.check(end)
        ends.check_end(end)
        ends.check_commutes(world)

    start = HONEST[name](faults=faults)
    return explore([start], acts.acts_of, check, depth_max=depth, states_max=states, watch=watch)


def walk_hearsay(name: str, *, depth: int, states: int, watch: Any = None) -> Survey:
    """Walk a world in which anything is said. Raises Violation."""
    return explore(
        [HEARSAY[name]()],
        hearsay.acts_of,
        hearsay.check,
        depth_max=depth,
        states_max=states,
        watch=watch,
    )


def walk_goods(*, depth: int, states: int, watch: Any = None) -> Survey:
    """Walk a paid order whose goods and money several want. Raises Violation."""

    def check(world: goods.Goods) -> None:
        goods.check(world)
        goods.check(goods.end(world))

    start = [goods.paid_order()]
    return explore(start, goods.acts_of, check, depth_max=depth, states_max=states, watch=watch)


def main(arguments: list[str]) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--world", choices=[*HONEST, *HEARSAY, GOODS], action="append")
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--faults", type=int, default=1)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--drain-every", type=int, default=20)
    options = parser.parse_args(arguments)
    for name in options.world or [*HONEST, *HEARSAY, GOODS]:
        watch = partial(_show, name)
        try:
            if name in HONEST:
                survey = walk_honest(
                    name,
                    depth=options.depth,
                    states=options.states,
                    faults=options.faults,
                    drain_every=options.drain_every,
                    watch=watch,
                )
            elif name == GOODS:
                survey = walk_goods(depth=options.depth, states=options.states, watch=watch)
            else:
                survey = walk_hearsay(name, depth=options.depth, states=options.states, watch=watch)
        except Violation as violation:
            print(f"{name}: {violation}")
            return 1
        print(f"{name}: {survey}")
    return 0


def _show(name: str, survey: Survey) -> None:
    print(f"{name}: {survey}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
