"""The simulator's memory: plain dictionaries, gone when it stops.

Every change is one synchronous step, so requests, timers and the wallet page never see half of
one. It keeps facts and finds them; what may happen is decided elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from checkstand.simulator.records import Credential, Merchant, Notice, Order, Refund


class Store:
    """Everything known, by the ids it is asked for."""

    def __init__(self, merchants: Iterable[Merchant]) -> None:
        self.merchants: dict[str, Merchant] = {}
        self.credentials: dict[str, Credential] = {}
        self.orders: dict[str, Order] = {}  # by prepay id
        self.refunds: dict[tuple[str, str], Refund] = {}  # by merchant and request id
        self.notices: list[Notice] = []
        self.wallets: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.nonces: set[tuple[str, str, str]] = set()
        self._prepay_ids: dict[tuple[str, str], str] = {}  # by merchant and trade number
        self._tokens: dict[str, str] = {}  # link token to prepay id
        self._refunds_of: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._last_prepay_id = 0
        for merchant in merchants:
            self.add_merchant(merchant)

    def add_merchant(self, merchant: Merchant) -> None:
        """Add a merchant, or another API key of one that is known by its id."""
        if merchant.api_key in self.credentials:
            raise ValueError(f"the API key {merchant.api_key!r} is taken")
        if not (merchant.merchant_id.isascii() and merchant.merchant_id.isdigit()):
            raise ValueError("merchant_id must be digits, as the service sends it as a number")
        credential = Credential(merchant.api_secret, merchant.merchant_id)
        self.credentials[merchant.api_key] = credential
        if merchant.merchant_id in self.merchants:
            return
        self.merchants[merchant.merchant_id] = merchant
        for currency, balance in merchant.opening_balances.items():
            self.wallets[merchant.merchant_id, currency] = balance

    def next_prepay_id(self, now_ms: int) -> str:
        """Return 18 digits, larger than any before and than those of an earlier run."""
        self._last_prepay_id = max(self._last_prepay_id + 1, now_ms * 100_000)
        return str(self._last_prepay_id)

    def put_order(self, order: Order) -> Order:
        """Remember an order in place of what was known of it."""
        if order.prepay_id not in self.orders:
            self._prepay_ids[order.merchant_id, order.merchant_trade_no] = order.prepay_id
            self._tokens[order.links.token] = order.prepay_id
        self.orders[order.prepay_id] = order
        return order

    def find_order(self, merchant_id: str, merchant_trade_no: str) -> Order | None:
        """Return one merchant's order by its trade number, if there is one."""
        prepay_id = self._prepay_ids.get((merchant_id, merchant_trade_no))
        return self.orders[prepay_id] if prepay_id else None

    def find_order_by_token(self, token: str) -> Order | None:
        """Return the order that a link leads to, if there is one."""
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
