"""Calls to Binance Pay for every account, each with its outcome sorted by what we may do next.

accepted: they did it. rejected: a definite no. unavailable: nothing happened there. unknown:
sent, and whether it took effect is not known. Nothing here decides what follows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from checkstand.ambient import Clock, Random, elapsed_seconds
from checkstand.binance import (
    AsyncBinancePay,
    AsyncTransport,
    BinancePayError,
    CallOptions,
    CreatedOrder,
    Goods,
    RateLimited,
    ServerFailed,
    UnitAmount,
)
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.budget import Trouble
from checkstand.domain.order import Goods as Line
from checkstand.domain.order import Terms
from checkstand.domain.refund import Refund
from checkstand.domain.report import Finding, RefundFinding, RefundReport, Report, Source
from checkstand.observability import Observer
from checkstand.provider.downloads import Fetch, download
from checkstand.provider.report_listing import ListedFile, ReportListing
from checkstand.provider.translation import (
    render_pass_through,
    report_of_creation,
    report_of_query,
    report_of_refund,
    report_of_refund_query,
)

#: Where the one documented live host is (reference 1.1); anything else is a stand-in.
LIVE_BASE_URL: Final = "https://bpay.binanceapi.com"
#: No such order (reference 5).
_NOT_FOUND: Final = "400202"
#: The number is taken: an earlier send of ours landed (or, on a first send, is malformed).
_DUPLICATE: Final = "400201"
#: No code for an unknown refund is documented: the order's, and the one for its id, are taken.
_NO_SUCH_REFUND: Final = frozenset({"400202", "400301"})
#: The merchant's wallet holds less than is to go back (reference 5).
_WALLET_SHORT: Final = "400304"
#: Longest description and goods name (reference 2.1, uncertain), and where emoji begin.
_TEXT_MAX: Final = 256
_LAST_OF_BASIC_PLANE: Final = 0xFFFF
#: Codes of a refusal that concerns one field's value (reference 5).
_BAD_VALUE: Final = frozenset({"400100", "400101", "400102"})


#: Too many requests, and the firewall's two ways of saying so (reference 1.6).
_UNWELCOME: Final = frozenset({403, 418, 429})
#: What is asked for: every payment and payout, and every settled payment and refund (2.13).
_REPORTS: Final = (("Transaction", "Payment"), ("Transaction", "Payout"), ("Settlement", None))


class Outcome(StrEnum):
    """What a provider call led to."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One call's outcome, with the report that follows from it, if any."""

    outcome: Outcome
    code: str | None
    summary: str
    report: Report | None = None
    merchant_id: str | None = None
    trouble: Trouble = Trouble.NONE  # what it says about how welcome our calls are


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAnswer:
    """One refund call's outcome, with the report that follows from it, if any."""

    outcome: Outcome
    code: str | None
    summary: str
    report: RefundReport | None = None
    trouble: Trouble = Trouble.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundOrder:
    """An order of ours at Binance that our rows do not know, as a query tells of it."""

    prepay_id: str | None
    status: str
    amount: Decimal
    currency: str
    transaction_id: str | None
    pass_through_info: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCredential:
    """Keys of one account, in the clear; masked in repr."""

    account_id: UUID
    credential_id: UUID
    base_url: str
    merchant_id: str | None
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)

    @property
    def is_simulated(self) -> bool:
        """Say whether these keys are for a stand-in, where no money is real."""
        return self.base_url.rstrip("/") != LIVE_BASE_URL


class Provider:
    """The second door: one client for each credential, kept for as long as the process lives."""

    def __init__(
        self,
        *,
        observer: Observer,
        clock: Clock,
        random: Random,
        timeout_seconds: float,
        transport: AsyncTransport | None = None,
        fetch: Fetch = download,
        elapsed_seconds: Callable[[], float] = elapsed_seconds,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._random = random
        self._timeout_seconds = timeout_seconds
        self._transport = transport  # none: each client has connections of its own
        self._fetch = fetch  # report files lie elsewhere, and are not signed for
        self._elapsed_seconds = elapsed_seconds
        self._clients: dict[UUID, AsyncBinancePay] = {}
        self._credentials: dict[UUID, ProviderCredential] = {}

    def use(self, credential: ProviderCredential) -> None:
        """Make calls for these keys possible. Known ones are left as they are."""
        if credential.credential_id not in self._clients:
            self._clients[credential.credential_id] = AsyncBinancePay(
                api_key=credential.api_key,
                api_secret=credential.api_secret,
                base_url=credential.base_url,
                timeout_seconds=self._timeout_seconds,
                transport=self._transport,
                clock=self._clock,
                random=self._random,
                elapsed_seconds=self._elapsed_seconds,
            )
        self._credentials[credential.credential_id] = credential

    def credential(self, credential_id: UUID) -> ProviderCredential:
        """Return keys that `use` was given."""
        return self._credentials[credential_id]

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def create(
        self, attempt: Attempt, terms: Terms, *, notice_url: str, reference: str
    ) -> Answer:
        """Send the create of one attempt."""
        client = self._clients[attempt.credential_id]
        price, fiat = terms.price, terms.fiat_price
        self._observer.before("binance /v3/order")
        try:
            created = await client.orders.create(
                merchant_trade_no=attempt.merchant_trade_no,
                description=_printable(terms.description),
                goods_details=_goods_of(terms),
                order_amount=price.amount if price else None,
                currency=price.currency if price else None,
                fiat_amount=fiat.amount if fiat else None,
                fiat_currency=fiat.currency if fiat else None,
                terminal_type=terms.terminal,
                return_url=terms.return_url,
                cancel_url=terms.cancel_url,
                expires_at=attempt.expires_at,
                support_pay_currency=terms.support_pay_currency,
                pass_through_info=render_pass_through(attempt),
                webhook_url=notice_url,
            )
        except BinancePayError as error:
            return self._create_failed(attempt, error, reference=reference)
        finally:
            self._observer.after("binance /v3/order")
        return _create_accepted(created, reference=reference)

    async def query(self, attempt: Attempt, *, reference: str) -> Answer:
        """Ask what has become of one attempt, by our own number."""
        client = self._clients[attempt.credential_id]
        self._observer.before("binance /v2/order/query")
        try:
            queried = await client.orders.query(
                merchant_trade_no=attempt.merchant_trade_no, options=_patience_for(attempt)
            )
        except BinancePayError as error:
            if error.code != _NOT_FOUND:
                return _failed(error)
            absent = _report(Finding.ABSENT, Source.QUERY, reference, "400202 order not found")
            return Answer(
                outcome=Outcome.ACCEPTED, code=error.code, summary="no such order", report=absent
            )
        finally:
            self._observer.after("binance /v2/order/query")
        report = report_of_query(queried, attempt=attempt, reference=reference)
        return Answer(
            outcome=Outcome.ACCEPTED,
            code="000000",
            summary=f"Binance says {report.word}",
            report=report,
            merchant_id=queried.merchant_id,
        )

    async def close(self, attempt: Attempt) -> Answer:
        """Ask for the close of one attempt. Accepted is not yet closed (reference 2.5)."""
        client = self._clients[attempt.credential_id]
        self._observer.before("binance /order/close")
        try:
            accepted = await client.orders.close(merchant_trade_no=attempt.merchant_trade_no)
        except BinancePayError as error:
            return _failed(error)
        finally:
            self._observer.after("binance /order/close")
        outcome = Outcome.ACCEPTED if accepted else Outcome.REJECTED
        return Answer(outcome=outcome, code="000000", summary=f"close {outcome}")

    async def refund(
        self, refund: Refund, attempt: Attempt, *, notice_url: str, reference: str
    ) -> RefundAnswer:
        """Send one refund; the same number at every send."""
        client = self._clients[attempt.credential_id]
        self._observer.before("binance /order/refund")
        try:
            taken = await client.refunds.create(
                refund_request_id=refund.refund_request_id,
                prepay_id=attempt.prepay_id or "",
                refund_amount=refund.amount.amount,
                refund_reason=_printable(refund.reason) if refund.reason else None,
                webhook_url=notice_url,
            )
        except BinancePayError as error:
            return _refund_failed(error, reference=reference)
        finally:
            self._observer.after("binance /order/refund")
        report = report_of_refund(taken, reference=reference)
        return RefundAnswer(
            outcome=Outcome.ACCEPTED,
            code="000000",
            summary=f"Binance took on a refund of {report.returned}",
            report=report,
        )

    async def query_refund(
        self, refund: Refund, attempt: Attempt, *, reference: str
    ) -> RefundAnswer:
        """Ask what has become of one refund, by our own number."""
        client = self._clients[attempt.credential_id]
        self._observer.before("binance /order/refund/query")
        try:
            queried = await client.refunds.query(refund_request_id=refund.refund_request_id)
        except BinancePayError as error:
            return _refund_query_failed(error, reference=reference)
        finally:
            self._observer.after("binance /order/refund/query")
        report = report_of_refund_query(queried, reference=reference)
        return RefundAnswer(
            outcome=Outcome.ACCEPTED,
            code="000000",
            summary=f"Binance says {report.word}",
            report=report,
        )

    async def find_order(self, credential_id: UUID, *, merchant_trade_no: str) -> FoundOrder | None:
        """Ask about an order that our rows do not know. Raises BinancePayError."""
        self._observer.before("binance /v2/order/query")
        try:
            found = await self._clients[credential_id].orders.query(
                merchant_trade_no=merchant_trade_no
            )
        except BinancePayError as error:
            if error.code != _NOT_FOUND:
                raise
            return None
        finally:
            self._observer.after("binance /v2/order/query")
        return FoundOrder(
            prepay_id=found.prepay_id,
            status=found.status,
            amount=found.order_amount,
            currency=found.currency,
            transaction_id=found.transaction_id,
            pass_through_info=found.pass_through_info,
        )

    async def list_certificates(self, credential_id: UUID) -> dict[str, str]:
        """Fetch Binance's public keys, serial to PEM. Raises BinancePayError."""
        self._observer.before("binance /certificates")
        certificates = await self._clients[credential_id].certificates.list()
        self._observer.after("binance /certificates")
        return {certificate.serial: certificate.public_key for certificate in certificates}

    async def read_balances(self, credential_id: UUID, *, wallet: str) -> dict[str, Decimal]:
        """Ask what a wallet holds, available and frozen, by asset. Raises BinancePayError."""
        self._observer.before("binance /v2/balance")
        held = await self._clients[credential_id].balances.query(wallet=wallet)
        self._observer.after("binance /v2/balance")
        return {coin.asset: coin.available + (coin.freeze or Decimal(0)) for coin in held.balance}

    async def list_report_files(
        self, credential_id: UUID, first: date, last: date
    ) -> ReportListing:
        """Ask for the report files of some days. Most keys may not: that is an answer, too."""
        client, found = self._clients[credential_id], []
        self._observer.before("binance /report/get-file")
        try:
            for report_type, transaction_type in _REPORTS:
                found += await client.reports.list_files(
                    report_type=report_type,
                    transaction_type=transaction_type,
                    start_date=first,
                    end_date=last,
                )
        except BinancePayError as error:
            return ReportListing(refusal=_failed(error).summary)
        finally:
            self._observer.after("binance /report/get-file")
        return ReportListing(
            files=[ListedFile(name=file.file_name, url=file.download_url) for file in found]
        )

    async def download_report(self, credential_id: UUID, url: str, into: Path) -> str | None:
        """Fetch a report file from where Binance says it is; return why that did not work."""
        self._observer.before("binance report file")
        try:
            is_simulated = self._credentials[credential_id].is_simulated
            return await self._fetch(url, into, may_be_plain=is_simulated)
        finally:
            self._observer.after("binance report file")

    def _create_failed(self, attempt: Attempt, error: BinancePayError, *, reference: str) -> Answer:
        answer = _failed(error)
        if answer.outcome is not Outcome.REJECTED:
            return answer
        if error.code == _DUPLICATE or attempt.sends > 1:
            # An earlier send may have landed: its refusal now is not a no. Ask.
            return replace(answer, outcome=Outcome.UNKNOWN)
        message = (error.binance_message or "").lower()
        refused = Report(
            finding=Finding.REFUSED,
            source=Source.ANSWER,
            reference=reference,
            word=answer.summary,
            refusal_is_about_time=error.code in _BAD_VALUE and "expire" in message,
        )
        return Answer(
            outcome=Outcome.REJECTED, code=error.code, summary=answer.summary, report=refused
        )


def _create_accepted(created: CreatedOrder, *, reference: str) -> Answer:
    return Answer(
        outcome=Outcome.ACCEPTED,
        code="000000",
        summary="Binance took the order",
        report=report_of_creation(created, reference=reference),
    )


def _failed(error: BinancePayError) -> Answer:
    """Sort an error: unknown beats everything, then "nothing happened there", then "no"."""
    if error.outcome_unknown:
        outcome = Outcome.UNKNOWN
    elif error.retryable:
        outcome = Outcome.UNAVAILABLE
    else:
        outcome = Outcome.REJECTED
    said = error.binance_message or str(error)
    summary = f"{error.code} {said}" if error.code else said
    return Answer(outcome=outcome, code=error.code, summary=summary, trouble=trouble_of(error))


def trouble_of(error: BinancePayError) -> Trouble:
    """Say what an error means for our next calls."""
    if isinstance(error, RateLimited) or error.http_status in _UNWELCOME:
        return Trouble.TOO_MANY
    failed = error.http_status is not None and error.http_status >= 500
    return Trouble.SERVER_FAILED if failed or isinstance(error, ServerFailed) else Trouble.NONE


def _patience_for(attempt: Attempt) -> CallOptions | None:
    """Let a poll fail at once: its schedule is its patience, and heeds the budget.

    Where the fate of a create is unknown a shopper waits, and the SDK tries again by itself.
    """
    if attempt.status in {AttemptStatus.PREPARED, AttemptStatus.SUBMITTING}:
        return None
    return CallOptions(max_retries=0)


def _refund_failed(error: BinancePayError, *, reference: str) -> RefundAnswer:
    failed = _failed(error)
    report = None
    if failed.outcome is Outcome.REJECTED:
        report = RefundReport(
            finding=RefundFinding.REFUSED,
            source=Source.ANSWER,
            reference=reference,
            word=failed.summary,
            code=error.code,
            waits_for_balance=error.code == _WALLET_SHORT,
        )
    return RefundAnswer(
        outcome=failed.outcome,
        code=failed.code,
        summary=failed.summary,
        report=report,
        trouble=failed.trouble,
    )


def _refund_query_failed(error: BinancePayError, *, reference: str) -> RefundAnswer:
    failed = _failed(error)
    if error.code not in _NO_SUCH_REFUND:
        return RefundAnswer(
            outcome=failed.outcome,
            code=failed.code,
            summary=failed.summary,
            trouble=failed.trouble,
        )
    absent = RefundReport(
        finding=RefundFinding.ABSENT,
        source=Source.QUERY,
        reference=reference,
        word=failed.summary,
        code=error.code,
    )
    return RefundAnswer(
        outcome=Outcome.ACCEPTED, code=error.code, summary="no such refund", report=absent
    )


def _report(finding: Finding, source: Source, reference: str, word: str) -> Report:
    return Report(finding=finding, source=source, reference=reference, word=word)


def _goods_of(terms: Terms) -> list[Goods]:
    if not terms.goods:
        # Binance wants at least one line; the description is what the shopper knows it by.
        return [
            Goods(
                goods_type="02",
                goods_category="Z000",
                reference_goods_id="order",
                goods_name=_printable(terms.description),
            )
        ]
    return [
        Goods(
            goods_type=goods.goods_type,
            goods_category=goods.category,
            reference_goods_id=goods.reference,
            goods_name=_printable(goods.name),
            goods_unit_amount=_unit_amount_of(goods, terms),
            goods_quantity=str(goods.quantity),
        )
        for goods in terms.goods
    ]


def _unit_amount_of(line: Line, terms: Terms) -> UnitAmount | None:
    price = terms.price or terms.fiat_price
    if line.unit_amount is None or price is None:
        return None
    return UnitAmount(amount=line.unit_amount, currency=price.currency)


def _printable(text: str) -> str:
    """Write text as Binance takes it: quotes, backslashes and emoji are refused there (2.1)."""
    plain = text.replace('"', "'").replace("\\", "/")
    plain = "".join(sign for sign in plain if ord(sign) <= _LAST_OF_BASIC_PLANE)
    return plain[:_TEXT_MAX].strip() or "Order"
