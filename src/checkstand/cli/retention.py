"""`checkstand retention`: forget what the policy lets go, or say what that would be."""

from checkstand.cli.house import read_environment, run_work


def retention(*, dry_run: bool = False) -> int:
    """Forget raw notices, buyer data and idempotency keys that are older than the settings say.

    The worker does the same every hour. No notice or buyer data of an order with an open anomaly
    goes.

    Parameters
    ----------
    dry_run
        Only count what would go.
    """
    settings = read_environment()
    from checkstand.app import building_house
    from checkstand.operations.prune_keys import prune_keys
    from checkstand.operations.prune_records import count_prunable, prune_records

    async def go() -> int:
        async with building_house(settings) as house:
            found = await count_prunable(house)
            for kind, number in found.items():
                print(f"{kind} {number}")
            while not dry_run and any((await prune_records(house)).values()):
                pass
            while not dry_run and await prune_keys(house):
                pass
        return 0

    return run_work(go())
