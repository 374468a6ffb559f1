"""The commands of the simulation.

python -m torture run --seeds 1000 --base 0     many seeds on every core
python -m torture show 17                       one seed: its plan, what happened, what is wrong
python -m torture shrink 17                     the shortest plan that fails in the same way
"""

import argparse
import os
import sys
from pathlib import Path

from checkstand.storage.embedded import EmbeddedPostgres
from torture.many import run_many, serving_postgres
from torture.plan import Plan
from torture.shrink import shrink
from torture.stage import Result, Stage
from torture.stories import make_plan

#: As everywhere in the house: what was looked for was found.
FOUND_PROBLEMS = 3


def main(arguments: list[str]) -> int:
    """Do what is asked; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__, add_help=True)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(dest="verb", required=True)
    many = verbs.add_parser("run", help="run many seeds")
    many.add_argument("--seeds", type=int, default=100, help="how many (100)")
    many.add_argument("--base", type=int, default=0, help="the first of them (0)")
    many.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    many.add_argument("--state", type=Path, help="a file that remembers; with it a run goes on")
    for verb in ("show", "shrink"):
        verbs.add_parser(verb).add_argument("seed", type=int)
    given = parser.parse_args(arguments)
    if given.verb == "run":
        seeds = range(given.base, given.base + given.seeds)
        return _run_many(seeds, jobs=given.jobs, state=given.state)
    return _show(given.seed) if given.verb == "show" else _shrink(given.seed)


def _run_many(seeds: range, *, jobs: int, state: Path | None) -> int:
    tally, seconds = run_many(seeds, jobs=jobs, state=state)
    for seed, violations in sorted(tally.violations.items()):
        print(f"seed {seed}: {'; '.join(violations)}")
    print("met: " + ", ".join(f"{what} {count}" for what, count in sorted(tally.met.items())))
    print(tally.render(wall_seconds=seconds))
    return FOUND_PROBLEMS if tally.violations else 0


def _show(seed: int) -> int:
    with serving_postgres() as server, Stage(_url(server)) as stage:
        return _print(make_plan(seed), stage.run(make_plan(seed), keeps_lines=True))


def _shrink(seed: int) -> int:
    with serving_postgres() as server, Stage(_url(server)) as stage:
        plan = shrink(make_plan(seed), stage.run)
        return _print(plan, stage.run(plan, keeps_lines=True))


def _print(plan: Plan, result: Result) -> int:
    print("\n".join(result.lines or ()))
    for order_id, entries in result.timelines.items():
        print(f"\norder {order_id}")
        print("\n".join(f"  {each['at']} {each['summary']}" for each in entries))
    print(f"\n{plan.render()}\n")
    print("\n".join(result.violations) or "nothing is wrong")
    print(f"hash {result.digest}, {result.transactions} transactions")
    return FOUND_PROBLEMS if result.violations else 0


def _url(server: EmbeddedPostgres) -> str:
    server.ensure_database("torture")
    return server.url(database="torture")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
