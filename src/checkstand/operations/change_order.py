"""Hold one order, decide, save: the shape of every operation that needs no call to Binance."""

from collections.abc import Callable
from uuid import UUID

from checkstand.domain.case import Case, Decision
from checkstand.domain.settlement import Circumstances
from checkstand.errors import NotFound
from checkstand.operations.resources import Resources
from checkstand.storage import cases
from checkstand.storage.database import Transaction

Decide = Callable[[Case, Circumstances], Decision]


async def change_order(
    resources: Resources, *, account_id: UUID, order_id: UUID, decide: Decide, name: str
) -> Case:
    """Change one order by a pure decision, in one transaction. Raises NotFound.

    What `decide` raises is the caller's, and nothing is written then.
    """
    given = resources.circumstances(account_id)
    key = (account_id, order_id)

    async def step(tx: Transaction) -> Case:
        case = (await cases.lock(tx, [key])).get(key)
        if case is None:
            raise order_not_found(order_id)
        decision = decide(case, given)
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        return decision.case

    case = await resources.database.run(step, name=name)
    resources.attempts_wake.up()
    resources.deliveries_wake.up()
    return case


def order_not_found(order_id: object) -> NotFound:
    """Say that an order is not there, or not this account's."""
    return NotFound("order_not_found", f"there is no order {order_id}", field="order_id")
