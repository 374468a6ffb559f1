"""`checkstand accounts limits`: what the account allows itself."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from checkstand.cli.house import read_environment, run_work

if TYPE_CHECKING:
    from checkstand.domain.limits import Limits

app = App(name="limits", help="Limits on orders and refunds; none by default.")


@app.command
def show() -> int:
    """List the limits in force."""
    settings = read_environment()
    from checkstand.app import building_house
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.operations.set_limit import list_limits

    async def go() -> int:
        async with building_house(settings) as house:
            _print(await list_limits(house, account_id=DEFAULT_ACCOUNT_ID))
        return 0

    return run_work(go())


@app.command(name="set")
def set_(
    kind: str,
    most: Annotated[str, Parameter(help="An amount or a number; `none` takes the limit back.")],
    /,
    *,
    currency: str | None = None,
) -> int:
    """Set one limit, and list all of them.

    Parameters
    ----------
    kind
        order_amount, open_orders_per_buyer, open_orders_per_address, refunded_per_day or
        refunds_per_day.
    currency
        Which currency it is about, where it is about one.
    """
    settings = read_environment()
    from checkstand.app import building_house
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.operations.set_limit import set_limit

    async def go() -> int:
        async with building_house(settings) as house:
            limits = await set_limit(
                house,
                account_id=DEFAULT_ACCOUNT_ID,
                kind=kind,
                most=None if most == "none" else most,
                currency=currency,
            )
            _print(limits)
        return 0

    return run_work(go())


def _print(limits: "Limits") -> None:
    from checkstand.domain.money import render_amount

    for limit in limits.by_place.values():
        print(f"{limit.kind} {render_amount(limit.most)} {limit.currency}".rstrip())
    if not limits.by_place:
        print("no limits")
