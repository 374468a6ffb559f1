"""`checkstand accounts`: which there are, stop one, let it go on."""

from typing import TYPE_CHECKING

from cyclopts import App

from checkstand.cli.orders import in_the_house, operator

if TYPE_CHECKING:
    from checkstand.domain.account import Account
    from checkstand.operations.resources import Resources

app = App(name="accounts", help="Merchant accounts: list them, stop one, let it go on.")


@app.command(name="list")
def list_() -> int:
    """List the accounts, and say which are stopped and why."""

    async def show(house: "Resources") -> None:
        for account in house.accounts.list_all():
            print(_line(account))

    return in_the_house(show)


@app.command
def halt(account: str, /, *, reason: str, by: str | None = None) -> int:
    """Stop the automatic moves of an account; notices are still taken in.

    Parameters
    ----------
    account
        Its name or its reference.
    reason
        Why; it is shown to whoever asks.
    by
        Who decides; the name you are logged in with otherwise.
    """
    from checkstand.operations.halt_account import halt_account

    async def stop(house: "Resources") -> None:
        found = _find(house, account)
        halted = await halt_account(
            house, account_id=found.account_id, reason=reason, doer=operator(by)
        )
        print(_line(halted))

    return in_the_house(stop)


@app.command
def resume(
    account: str, /, *, reason: str, forget_merchant: bool = False, by: str | None = None
) -> int:
    """Let an account that was stopped move again.

    Parameters
    ----------
    account
        Its name or its reference.
    reason
        What was mended.
    forget_merchant
        Let the next query say anew which of Binance's merchants this is.
    by
        Who decides; the name you are logged in with otherwise.
    """
    from checkstand.operations.halt_account import resume_account

    async def go_on(house: "Resources") -> None:
        found = _find(house, account)
        resumed = await resume_account(
            house,
            account_id=found.account_id,
            reason=reason,
            forget_merchant=forget_merchant,
            doer=operator(by),
        )
        print(_line(resumed))

    return in_the_house(go_on)


def _find(house: "Resources", text: str) -> "Account":
    """Find an account by its reference or its name. Raises NotFound."""
    from checkstand.errors import NotFound

    everybody = house.accounts.list_all()
    found = [a for a in everybody if a.reference == text] or [
        a for a in everybody if a.name == text
    ]
    if len(found) != 1:
        known = ", ".join(f"{a.reference} ({a.name})" for a in everybody)
        raise NotFound("account_not_found", f"no one account is called {text}; there are: {known}")
    return found[0]


def _line(account: "Account") -> str:
    state = (
        f"HALTED since {account.halted_at:%Y-%m-%d %H:%M:%S}: {account.halted_reason}"
        if account.halted_reason
        else "moving"
    )
    merchant = account.merchant_id or "not known yet"
    return f"{account.reference} {account.name} (merchant {merchant}) {state}"
