"""What may be chosen about the simulator: delays, limits, and how strict to be.

Where the reference calls a fact uncertain there is a switch here, and its default is the reading
with the best evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

_HOUR_MS = 3_600_000

#: Round numbers, made up: what one unit of fiat money costs in USDT.
FIAT_RATES: Mapping[str, Decimal] = MappingProxyType(
    {
        "USD": Decimal(1),
        "EUR": Decimal("1.08"),
        "GBP": Decimal("1.25"),
        "HKD": Decimal("0.128"),
        "JPY": Decimal("0.0067"),
        "BRL": Decimal("0.18"),
        "TRY": Decimal("0.025"),
        "UAH": Decimal("0.024"),
    }
)

#: Likewise: what one coin costs in USDT.
COIN_PRICES: Mapping[str, Decimal] = MappingProxyType(
    {
        "BNB": Decimal(600),
        "BTC": Decimal(60_000),
        "BUSD": Decimal(1),
        "DOGE": Decimal("0.1"),
        "ETH": Decimal(3_000),
        "FDUSD": Decimal(1),
        "LTC": Decimal(80),
        "SOL": Decimal(150),
        "TRX": Decimal("0.2"),
        "USDC": Decimal(1),
        "USDT": Decimal(1),
        "XRP": Decimal(2),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every choice, with the default that comes closest to the documented service."""

    # Judging a request.
    timestamp_window_ms: int = 1000  # documented as 1 s; a third party claims 5 minutes
    rejects_repeated_nonce: bool = False  # no replay check is documented
    accepts_text_amounts: bool = True  # documented as numbers; live clients send both
    rejects_null: bool = True  # the official collection's FAQ: null may give 400100
    enforces_recollected_limits: bool = False  # lengths nobody could read on the page again
    body_bytes_max: int = 1_048_576  # more is 400104; the real limit is not documented

    # Answering it.
    answers_200_always: bool = False  # the HTTP status of a FAIL is not documented
    errors_use_msg: bool = False  # the FAQ shows `msg` for signature errors, live replies do not

    # Orders.
    order_expiry_default_ms: int = _HOUR_MS
    order_expiry_max_ms: int = _HOUR_MS  # documented for v1 only
    close_delay_ms: int = 100  # from "accepted" to CANCELED; the payer may still win meanwhile
    coin_prices: Mapping[str, Decimal] = field(default_factory=lambda: COIN_PRICES)
    fiat_rates: Mapping[str, Decimal] = field(default_factory=lambda: FIAT_RATES)

    # Money.
    commission_rate: Decimal = Decimal("0.01")  # contractual at the real service
    refund_delay_ms: int = 100  # from REFUND_PENDING to its end
    refund_attempts_max: int = 10
    shows_refunding: bool = True  # whether orders pass visibly through REFUNDING is uncertain
    refund_query_is_current: bool = False  # its sums and attempts: of now, or of that refund
    portal_refunds_use_attempts: bool = False  # nothing is documented
    payer_opening_balance: Decimal = Decimal(100_000)  # of every coin
    transfer_delay_ms: int = 0  # PROCESS until then; 0: done when it is answered
    payout_delay_ms: int = 100  # from ACCEPTED to PROCESSING, and from there to the end
    payout_lines_max: int = 500
    requires_store_type: bool = False  # the new page says so, older ones and the connector do not
    report_delay_ms: int = 1000  # from asking for a balance report to having it
    report_lifetime_ms: int = 24 * _HOUR_MS  # of a report's address; not documented
    reports_per_month_max: int = 50  # of balance reports; the code beyond it is not documented
    report_query_has_envelope: bool = False  # the documented sample has none

    # Webhooks.
    webhook_retry_delays_seconds: tuple[float, ...] = (1, 5, 30, 120, 600, 3600)  # six; no schedule
    webhook_timeout_seconds: float = 5.0  # of the host's time, as it waits on a real socket
    webhook_concurrency: int = 32
    retries_keep_timestamp: bool = False  # whether retries are signed afresh is uncertain
    requires_return_code: bool = True  # 200 alone is no acknowledgement
    sends_pay_closed: bool = True  # can be switched off in the merchant portal

    @property
    def currencies(self) -> frozenset[str]:
        """Return the coins there are."""
        return frozenset(self.coin_prices)
