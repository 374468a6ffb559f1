"""Hold one order, decide, save: the shape of every operation that needs no call to Binance."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.domain.act import Act, Doer
from checkstand.domain.case import Case, Decision
from checkstand.domain.settlement import Circumstances
from checkstand.errors import NotFound
from checkstand.operations.resources import Resources
from checkstand.storage import acts, cases
from checkstand.storage.database import Step, Transaction

Decide = Callable[[Case, Circumstances], Decision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody does to an order, to be kept if it changes anything."""

    doer: Doer
    what: str
    reason: str | None = None
    subject: str | None = None  # the order itself when it is nothing in it


async def change_order(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    decide: Decide,
    name: str,
    deed: Deed | None = None,
) -> Case:
    """Change one order by a pure decision, in one transaction. Raises NotFound.

    What `decide` raises is the caller's, and nothing is written then. With a `deed` it is kept
    who did it; a deed that changed nothing was none.
    """
    step = plan_change(
        resources, account_id=account_id, order_id=order_id, decide=decide, deed=deed
    )
    case = await resources.database.run(step, name=name)
    wake_after_change(resources)
    return case


def plan_change(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    decide: Decide,
    deed: Deed | None = None,
) -> Step[Case]:
    """Make the step of a change, for whoever has more to do in its transaction."""
    act_id = resources.ids.new()
    given = resources.circumstances(account_id)
    key = (account_id, order_id)

    async def step(tx: Transaction) -> Case:
        case = (await cases.lock(tx, [key])).get(key)
        if case is None:
            raise order_not_found(order_id)
        decision = decide(case, given)
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        if deed is not None and decision.case != decision.before:
            await acts.record(tx, _act(deed, act_id, case, at=given.now))
        return decision.case

    return step


def wake_after_change(resources: Resources) -> None:
    """Let what a change left to do be done at once."""
    resources.attempts_wake.up()
    resources.deliveries_wake.up()


def _act(deed: Deed, act_id: UUID, case: Case, *, at: datetime) -> Act:
    order = case.order
    return Act(
        account_id=order.account_id,
        act_id=act_id,
        order_id=order.order_id,
        doer=deed.doer,
        what=deed.what,
        subject=deed.subject or f"order:{order.order_id}",
        reason=deed.reason,
        at=at,
    )


def order_not_found(order_id: object) -> NotFound:
    """Say that an order is not there, or not this account's."""
    return NotFound("order_not_found", f"there is no order {order_id}", field="order_id")
