"""The shopper's page on the real house: the port `Checkouts`, on queries and operations."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from checkstand.domain.act import SHOPPER
from checkstand.domain.attempt import SHORTEST_LIFE, AttemptStatus, CloseReason
from checkstand.domain.order import UNPAID, OrderStatus
from checkstand.errors import CheckstandError, NotFound
from checkstand.operations.cancel_order import cancel_order
from checkstand.operations.keep_code import keep_code
from checkstand.operations.open_account import REFERENCE_LENGTH
from checkstand.operations.refresh_order import ask_soon
from checkstand.operations.renew_order import renew_order
from checkstand.operations.resources import Resources
from checkstand.queries.checkout import CheckoutFacts, find_checkout
from checkstand.web.checkout.qr import draw_qr
from checkstand.web.checkout.view import CheckoutState, CheckoutStatus, CheckoutView

_ENDED: Final = {
    OrderStatus.PAID: CheckoutState.PAID,
    OrderStatus.FULFILLED: CheckoutState.PAID,
    OrderStatus.REFUNDED: CheckoutState.REFUNDED,
    OrderStatus.CANCELED: CheckoutState.CANCELLED,
    OrderStatus.EXPIRED: CheckoutState.EXPIRED,
}


class CheckoutDesk:
    """Answers for the orders whose token a shopper holds."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def find(self, token: str) -> CheckoutView | None:
        """Return everything the page shows."""
        found = await self._facts(token)
        if found is None:
            return None
        account_id, facts = found
        now = self._resources.clock.now()
        state = state_of(facts, now=now)
        links = facts.links if state is CheckoutState.READY else None
        may_act = facts.status in UNPAID and facts.cancel_requested_at is None
        may_act = may_act and not facts.is_unsettled and not facts.payer_active
        return CheckoutView(
            merchant_name=self._resources.accounts.get(account_id).name,
            reference=facts.merchant_order_id,
            order_id=str(facts.order_id),
            description=facts.description,
            state=state,
            version=facts.version,
            is_simulated=self._is_simulated(facts),
            amount=facts.amount,
            currency=facts.currency,
            fiat_amount=facts.fiat_amount,
            fiat_currency=facts.fiat_currency,
            qr_svg=await self._code(account_id, facts) if links else None,
            universal_url=links.universal_url if links else None,
            deeplink=links.deeplink if links else None,
            binance_checkout_url=links.checkout_url if links else None,
            now=now,
            code_expires_at=_code_expires_at(facts, state),
            order_expires_at=facts.expires_at,
            paid_at=facts.paid_at,
            can_renew=may_act and facts.expires_at - now >= SHORTEST_LIFE,
            can_cancel=may_act,
            return_url=facts.return_url,
            cancel_url=facts.cancel_url,
        )

    async def status(self, token: str) -> CheckoutStatus | None:
        """Return the little an open page asks for: one indexed read."""
        found = await self._facts(token)
        if found is None:
            return None
        _, facts = found
        now = self._resources.clock.now()
        state = state_of(facts, now=now)
        return CheckoutStatus(
            state=state,
            version=facts.version,
            code_expires_at=_code_expires_at(facts, state),
            now=now,
        )

    async def check(self, token: str) -> bool:
        """Let a worker ask Binance at once; True also when that was asked for just before."""
        found = await self._facts(token)
        if found is None:
            return False
        account_id, facts = found
        if facts.status not in UNPAID:
            return False
        await ask_soon(self._resources, account_id=account_id, order_id=facts.order_id)
        return True

    async def cancel(self, token: str) -> bool:
        """Start the safe close."""
        return await self._act(token, partial(cancel_order, doer=SHOPPER))

    async def renew(self, token: str) -> bool:
        """Start to replace the code."""
        return await self._act(token, partial(renew_order, doer=SHOPPER))

    async def _act(self, token: str, operation: Callable[..., Awaitable[object]]) -> bool:
        found = await self._facts(token)
        if found is None:
            return False
        account_id, facts = found
        try:
            await operation(self._resources, account_id=account_id, order_id=facts.order_id)
        except CheckstandError:
            return False
        return True

    async def _facts(self, token: str) -> tuple[UUID, CheckoutFacts] | None:
        # The token begins with its account's reference, so that every look-up starts there.
        account = self._resources.accounts.find_by_reference(token[:REFERENCE_LENGTH])
        if account is None:
            return None
        facts = await find_checkout(self._resources.database, account.account_id, token)
        return None if facts is None else (account.account_id, facts)

    async def _code(self, account_id: UUID, facts: CheckoutFacts) -> str | None:
        if facts.links is None or facts.attempt_id is None:
            return None
        return await keep_code(
            self._resources,
            account_id=account_id,
            attempt_id=facts.attempt_id,
            draw=partial(draw_qr, facts.links.qr_content),
        )

    def _is_simulated(self, facts: CheckoutFacts) -> bool:
        if facts.credential_id is None:
            return False
        try:
            return self._resources.provider.credential(facts.credential_id).is_simulated
        except NotFound:
            return False


def state_of(facts: CheckoutFacts, *, now: datetime) -> CheckoutState:
    """Say what the shopper is told, from the order first and its newest attempt then."""
    if facts.is_unsettled:
        return CheckoutState.SORTING
    ended = _ENDED.get(facts.status)
    if ended is not None:
        return ended
    match facts.attempt_status:
        case AttemptStatus.PREPARED | AttemptStatus.SUBMITTING:
            is_wanted = facts.cancel_requested_at is None
            return CheckoutState.PREPARING if is_wanted else CheckoutState.CHECKING
        case AttemptStatus.OPEN:
            payable = facts.links is not None and now < (facts.attempt_expires_at or now)
            return CheckoutState.READY if payable else CheckoutState.CHECKING
        case AttemptStatus.CLOSING:
            replaced = facts.close_reason in {CloseReason.RENEW, CloseReason.RECOVER}
            return CheckoutState.PREPARING if replaced else CheckoutState.CHECKING
        case AttemptStatus.PAID:
            return CheckoutState.SORTING
        case _:
            return CheckoutState.CODE_EXPIRED


def _code_expires_at(facts: CheckoutFacts, state: CheckoutState) -> datetime | None:
    return facts.attempt_expires_at if state is CheckoutState.READY else None
