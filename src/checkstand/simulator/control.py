"""The hand of whoever runs the simulation: pays, fails, moves the clock, breaks things.

The same object serves tests in process and, through `control_pages.py`, everybody over HTTP.
Use it from the simulator's event loop; other threads and programs use HTTP.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from checkstand.simulator import orders, refunds, wallets
from checkstand.simulator.accounts import EntryKind, Payer, Purse, Wallet
from checkstand.simulator.amounts import as_number, read_amount
from checkstand.simulator.checks import check_features, check_networks
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.faults import FaultBook
from checkstand.simulator.notices import envelope, order_data
from checkstand.simulator.orders import DEFAULT_PAYER_ID, PaymentTerms
from checkstand.simulator.records import Credential, Merchant, Notice, Order, Refund
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.signing import SignedNotice, SigningKey, sign_notice
from checkstand.simulator.snapshots import export_world, import_world
from checkstand.simulator.world import World


class NotFound(LookupError):
    """Nothing here goes by that name, or several things do."""


class Control:
    """Everything a person or a test may do to a simulator."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def clock(self) -> SimulatedClock:
        """The one clock. Moving it fires what is due; `advance` here also awaits webhooks."""
        return self.world.clock

    @property
    def faults(self) -> FaultBook:
        """The faults in force."""
        return self.world.faults

    @property
    def orders(self) -> list[Order]:
        """Every order, oldest first."""
        return list(self.world.store.orders.values())

    @property
    def refunds(self) -> list[Refund]:
        """Every refund, oldest first."""
        return list(self.world.store.refunds.values())

    @property
    def notices(self) -> list[Notice]:
        """Every webhook with its tries, oldest first, the dropped ones too."""
        return list(self.world.store.notices)

    @property
    def webhooks_sent(self) -> list[Notice]:
        """The webhooks that were sent and answered, or failed, at least once."""
        return [notice for notice in self.world.store.notices if notice.tries]

    def order(self, reference: str, *, merchant_id: str | None = None) -> Order:
        """Return an order by trade number or prepay id; raise `NotFound` if not exactly one."""
        store = self.world.store
        found = [store.orders[reference]] if reference in store.orders else []
        found += filter(None, (store.find_order(each, reference) for each in store.merchants))
        found = [each for each in found if merchant_id in {None, each.merchant_id}]
        if len(found) > 1:
            raise NotFound(f"several merchants have an order {reference!r}: say which merchant_id")
        if not found:
            raise NotFound(f"there is no order {reference!r}")
        return found[0]

    def pay(
        self,
        reference: str,
        *,
        merchant_id: str | None = None,
        commission: Decimal | str | None = None,
        amount: Decimal | str | None = None,
        currency: str | None = None,
        webhook: bool = True,
        force: bool = False,
        pay_currency: str | None = None,
        payer_id: str = DEFAULT_PAYER_ID,
        tops_up: bool = True,
    ) -> Order:
        """Pay an order; raise `orders.NotPossible` unless it is open, or `force` pays it late.

        The payer chooses `pay_currency`, by default the order's, and is given what is missing
        in the wallet, unless `tops_up` is false. `amount` and `currency` make other money arrive
        than was asked for.
        """
        terms = PaymentTerms(
            commission=None if commission is None else Decimal(commission),
            amount=None if amount is None else _amount(amount, "amount"),
            currency=currency,
            payer_id=payer_id,
            pay_currency=pay_currency,
            tops_up=tops_up,
            tells=webhook,
            forced=force,
        )
        return orders.pay(self.world, self.order(reference, merchant_id=merchant_id), terms)

    def pending(self, reference: str, *, merchant_id: str | None = None) -> Order:
        """Let the payer start paying: the order cannot be closed any more."""
        return orders.start_paying(self.world, self.order(reference, merchant_id=merchant_id))

    def cancel(self, reference: str, *, merchant_id: str | None = None) -> Order:
        """Let the payer walk away; the order stays open."""
        return orders.decline(self.world, self.order(reference, merchant_id=merchant_id))

    def fail(self, reference: str, *, merchant_id: str | None = None) -> Order:
        """Let the payment fail: the order ends in ERROR."""
        return orders.fail(self.world, self.order(reference, merchant_id=merchant_id))

    def expire(self, reference: str, *, merchant_id: str | None = None) -> Order:
        """End an unpaid order as if its time had passed."""
        return orders.expire(self.world, self.order(reference, merchant_id=merchant_id))

    def refund(
        self,
        reference: str,
        *,
        amount: Decimal | str | None = None,
        merchant_id: str | None = None,
    ) -> Refund:
        """Refund by hand in the portal, which sends no webhook; no amount means all that is left.

        Raises `Rejection` when a rule of refunds is against it.
        """
        order = self.order(reference, merchant_id=merchant_id)
        wanted = None if amount is None else _amount(amount, "amount")
        return refunds.refund_in_portal(self.world, order, wanted)

    async def send_webhook(
        self,
        reference: str,
        *,
        merchant_id: str | None = None,
        biz_status: str | None = None,
        data: Mapping[str, Any] | None = None,
        url: str | None = None,
        bad_signature: bool = False,
        timestamp_ms: int | None = None,
    ) -> Notice:
        """Send one webhook about an order, once and now; return it with its answer.

        Without `biz_status` and `data` the order's latest notice goes out again, byte for byte;
        with them one is made up, `data` laid over what is true of the order. Decimals in `data`
        travel as numbers, text as text.
        """
        order = self.order(reference, merchant_id=merchant_id)
        latest = next((n for n in reversed(self.notices) if n.prepay_id == order.prepay_id), None)
        if biz_status is None and data is None:
            if latest is None:
                raise NotFound(f"order {reference!r} has no webhook to repeat: name a biz_status")
            biz_type, biz_status, body = latest.biz_type, latest.biz_status, latest.body
        else:
            biz_type, biz_status = "PAY", biz_status or "PAY_SUCCESS"
            true = order_data(order, now_ms=self.world.clock.now_ms())
            body = envelope(
                biz_type=biz_type,
                biz_status=biz_status,
                biz_id=order.prepay_id,
                data=true | {k: _as_wire(v) for k, v in (data or {}).items()},
            )
        default_url = self.world.store.merchants[order.merchant_id].webhook_url
        url = url or (latest and latest.url) or order.webhook_url or default_url
        if url is None:
            raise NotFound("neither the order nor its merchant has a webhook URL: give a url")
        notice = Notice(
            number=len(self.world.store.notices),
            merchant_id=order.merchant_id,
            merchant_trade_no=order.merchant_trade_no,
            prepay_id=order.prepay_id,
            biz_type=biz_type,
            biz_status=biz_status,
            url=url,
            body=body,
            created_ms=self.clock.now_ms(),
        )
        return await self.world.postman.send_once(
            notice, signs_badly=bad_signature, timestamp_ms=timestamp_ms
        )

    def sign(
        self,
        *,
        data: Mapping[str, Any],
        biz_type: str = "PAY",
        biz_status: str = "PAY_SUCCESS",
        biz_id: str | None = None,
        timestamp_ms: int | None = None,
        bad_signature: bool = False,
    ) -> SignedNotice:
        """Return a webhook that says `data`, signed but not sent; see `send_webhook` on numbers."""
        world = self.world
        now_ms = world.clock.now_ms()
        body = envelope(
            biz_type=biz_type,
            biz_status=biz_status,
            biz_id=biz_id or world.store.next_id(now_ms),
            data=_as_wire(data),
        )
        signed = sign_notice(
            world.keys.current,
            body + b" " if bad_signature else body,  # a true signature, of another body
            timestamp=str(now_ms if timestamp_ms is None else timestamp_ms),
            nonce=world.randomness.alphanumeric(32),
        )
        return replace(signed, body=body)

    def export_state(self) -> bytes:
        """Return everything as JSON, secrets and private keys included."""
        return export_world(self.world)

    async def import_state(self, exported: bytes) -> None:
        """Put an exported state in place of everything; raise ValueError if it is none."""
        await import_world(self.world, exported)

    def add_merchant(self, merchant: Merchant) -> Merchant:
        """Add a merchant, or a further API key of a known one; raise ValueError if it is taken."""
        self.world.store.add_merchant(merchant)
        return self.world.store.merchants[merchant.merchant_id]

    def set_key(
        self,
        api_key: str,
        *,
        features: Iterable[str] | None = None,
        trusted_ips: Iterable[str] | None = None,
    ) -> Credential:
        """Change what a key may do (else 400606) and from where (else 400004); None leaves it."""
        known = self.world.store.credentials.get(api_key)
        if known is None:
            raise NotFound(f"there is no API key {api_key!r}")
        if features is not None:
            known = replace(known, features=check_features(features))
        if trusted_ips is not None:
            known = replace(known, trusted_ips=check_networks(trusted_ips))
        self.world.store.credentials[api_key] = known
        return known

    def add_payer(self, payer: Payer) -> Payer:
        """Add somebody who pays; raise ValueError if the id is taken."""
        self.world.store.add_payer(payer)
        return payer

    def balance(
        self, owner: str, currency: str, *, wallet: Wallet | str = Wallet.FUNDING
    ) -> Decimal:
        """Return what a merchant or payer has of a coin."""
        return self.world.store.balances.get(self._purse(owner, currency, wallet), Decimal())

    def set_balance(
        self,
        owner: str,
        currency: str,
        balance: Decimal | str | int,
        *,
        wallet: Wallet | str = Wallet.FUNDING,
    ) -> Decimal:
        """Say what a merchant or payer has of a coin; an entry tells of the difference."""
        purse = self._purse(owner, currency, wallet)
        change = Decimal(balance) - self.world.store.balances[purse]
        wallets.book(self.world, purse, change, kind=EntryKind.CORRECTION, reference="")
        return self.world.store.balances[purse]

    def _purse(self, owner: str, currency: str, wallet: Wallet | str) -> Purse:
        store = self.world.store
        if owner not in store.merchants and owner not in store.payers:
            raise NotFound(f"there is no merchant or payer {owner!r}")
        return Purse(owner, Wallet(wallet), currency)

    def set_webhook_url(self, merchant_id: str, url: str | None) -> Merchant:
        """Set where a merchant's notices go that name no URL of their own."""
        if merchant_id not in self.world.store.merchants:
            raise NotFound(f"there is no merchant {merchant_id!r}")
        merchant = replace(self.world.store.merchants[merchant_id], webhook_url=url)
        self.world.store.merchants[merchant_id] = merchant
        return merchant

    def rotate_certificates(self, *, keeps_old: bool = True) -> SigningKey:
        """Sign with a new key from now on."""
        return self.world.keys.rotate(keeps_old=keeps_old)

    async def settle(self) -> None:
        """Wait until no webhook is on its way; retries that wait for the clock do not count."""
        await asyncio.sleep(0)  # whoever a timer has just woken acts first
        await self.world.postman.idle()

    async def advance(self, seconds: float) -> None:
        """Move the clock on, stopping at everything due on the way until it has settled.

        So a day of retries, each set off by the answer before, passes in one call.
        """
        if seconds < 0:
            raise ValueError("the clock advances forwards; clock.set() turns it back")
        clock = self.clock
        target_ms = clock.now_ms() + round(seconds * 1000)
        await self.settle()
        while (due_ms := clock.next_due_ms) is not None and due_ms <= target_ms:
            clock.set_ms(max(due_ms, clock.now_ms()))
            await self.settle()
        clock.set_ms(max(target_ms, clock.now_ms()))
        await self.settle()


def notice_data(notice: Notice) -> dict[str, Any]:
    """Return the parsed `data` of a notice, amounts as Decimal."""
    body = json.loads(notice.body, parse_float=Decimal)
    data: dict[str, Any] = json.loads(body["data"], parse_float=Decimal)
    return data


def _amount(value: Decimal | str, name: str) -> Decimal:
    try:
        return read_amount(value, name=name, accepts_text=True)
    except Rejection as rejection:
        raise ValueError(rejection.message) from None


def _as_wire(value: object) -> object:
    """Return a value as JSON can carry it: Decimals become exact numbers."""
    if isinstance(value, Decimal):
        return as_number(value)
    if isinstance(value, Mapping):
        return {key: _as_wire(inner) for key, inner in value.items()}
    return [_as_wire(inner) for inner in value] if isinstance(value, list) else value
