"""The simulator's memory: plain dictionaries, gone when it stops.

Every change is one synchronous step, so requests, timers and the wallet page never see half of
one. It keeps facts and finds them; what may happen is decided elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from checkstand.simulator.accounts import (
    BalanceReport,
    Entry,
    EntryKind,
    Payer,
    Payout,
    Purse,
    ReportFile,
    SubMerchant,
    Transfer,
    Wallet,
)
from checkstand.simulator.records import Credential, Merchant, Notice, Order, Refund


class Store:
    """Everything known, by the ids it is asked for."""

    def __init__(self, merchants: Iterable[Merchant] = (), payers: Iterable[Payer] = ()) -> None:
        self.clear()
        for merchant in merchants:
            self.add_merchant(merchant)
        for payer in payers:
            self.add_payer(payer)

    def clear(self) -> None:
        """Forget everything."""
        self.merchants: dict[str, Merchant] = {}
        self.credentials: dict[str, Credential] = {}
        self.orders: dict[str, Order] = {}  # by prepay id
        self.refunds: dict[tuple[str, str], Refund] = {}  # by merchant and request id
        self.notices: list[Notice] = []
        self.payers: dict[str, Payer] = {}
        self.balances: defaultdict[Purse, Decimal] = defaultdict(Decimal)
        self.entries: list[Entry] = []
        self.transfers: dict[tuple[str, str], Transfer] = {}  # by merchant and request id
        self.payouts: dict[tuple[str, str], Payout] = {}  # by merchant and request id
        self.sub_merchants: dict[str, SubMerchant] = {}
        self.balance_reports: dict[str, BalanceReport] = {}  # by download id
        self.report_files: dict[str, ReportFile] = {}  # by token
        self.nonces: set[tuple[str, str, str]] = set()
        self._prepay_ids: dict[tuple[str, str], str] = {}  # by merchant and trade number
        self._tokens: dict[str, str] = {}  # link token to prepay id
        self._refunds_of: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self.last_id = 0

    def add_merchant(self, merchant: Merchant) -> None:
        """Add a merchant, or another API key of one that is known by its id."""
        if merchant.api_key in self.credentials:
            raise ValueError(f"the API key {merchant.api_key!r} is taken")
        if not (merchant.merchant_id.isascii() and merchant.merchant_id.isdigit()):
            raise ValueError("merchant_id must be digits, as the service sends it as a number")
        if merchant.merchant_id in self.payers:
            raise ValueError(f"a payer goes by the id {merchant.merchant_id}")
        self.credentials[merchant.api_key] = Credential(
            merchant.api_secret, merchant.merchant_id, merchant.features, merchant.trusted_ips
        )
        if merchant.merchant_id in self.merchants:
            return
        self.merchants[merchant.merchant_id] = merchant
        self._open(merchant.merchant_id, merchant.opening_balances)

    def add_payer(self, payer: Payer) -> None:
        """Add somebody who pays."""
        if payer.payer_id in self.payers or payer.payer_id in self.merchants:
            raise ValueError(f"the id {payer.payer_id!r} is taken")
        if not (payer.payer_id.isascii() and payer.payer_id.isdigit()):
            raise ValueError("payer_id must be digits, as the service sends it as a number")
        self.payers[payer.payer_id] = payer
        self._open(payer.payer_id, payer.opening_balances)

    def _open(self, owner: str, balances: Mapping[str, Decimal]) -> None:
        for currency, balance in balances.items():
            purse = Purse(owner, Wallet.FUNDING, currency)
            self.book(purse, balance, at_ms=0, kind=EntryKind.OPENING, reference="")

    def book(
        self, purse: Purse, amount: Decimal, *, at_ms: int, kind: EntryKind, reference: str
    ) -> Entry | None:
        """Change a balance by an entry; nothing at all leaves none."""
        if not amount:
            return None
        self.balances[purse] += amount
        entry = Entry(
            at_ms=at_ms,
            owner=purse.owner,
            wallet=purse.wallet,
            currency=purse.currency,
            amount=amount,
            balance=self.balances[purse],
            kind=kind,
            reference=reference,
        )
        self.entries.append(entry)
        return entry

    def list_purses(self, owner: str) -> dict[Purse, Decimal]:
        """Return what somebody has or had, coin by coin."""
        return {purse: amount for purse, amount in self.balances.items() if purse.owner == owner}

    def next_id(self, now_ms: int) -> str:
        """Return 18 digits, larger than any before and than those of an earlier run."""
        self.last_id = max(self.last_id + 1, now_ms * 100_000)
        return str(self.last_id)

    def put_order(self, order: Order) -> Order:
        """Remember an order in place of what was known of it."""
        if order.prepay_id not in self.orders:
            self._prepay_ids[order.merchant_id, order.merchant_trade_no] = order.prepay_id
            self._tokens[order.links.token] = order.prepay_id
            self._tokens[order.links.deeplink[-32:]] = order.prepay_id
        self.orders[order.prepay_id] = order
        return order

    def find_order(self, merchant_id: str, merchant_trade_no: str) -> Order | None:
        """Return one merchant's order by its trade number, if there is one."""
        prepay_id = self._prepay_ids.get((merchant_id, merchant_trade_no))
        return self.orders[prepay_id] if prepay_id else None

    def find_order_by_token(self, token: str) -> Order | None:
        """Return the order that a link's or a deeplink's token leads to, if there is one."""
        prepay_id = self._tokens.get(token)
        return self.orders[prepay_id] if prepay_id else None

    def put_refund(self, refund: Refund) -> Refund:
        """Remember a refund in place of what was known of it."""
        key = (refund.merchant_id, refund.refund_request_id)
        if key not in self.refunds:
            self._refunds_of[refund.prepay_id].append(key)
        self.refunds[key] = refund
        return refund

    def list_refunds(self, prepay_id: str) -> list[Refund]:
        """Return the refunds of one order, oldest first."""
        return [self.refunds[key] for key in self._refunds_of.get(prepay_id, ())]

    def put_notice(self, notice: Notice) -> Notice:
        """Remember a notice in place of what was known of it; numbers count from 0."""
        if notice.number == len(self.notices):
            self.notices.append(notice)
        else:
            self.notices[notice.number] = notice
        return notice
