"""How long reconciling takes and how much memory: so many paid orders, files of that size.

    python bench/reconcile.py [--orders N] [--days N]

A throw-away database is filled, report files of the same orders are written, and some of each kind
of discrepancy are planted on either side. Then the real command runs: `checkstand reconcile`, and
what it found is compared with what was planted. A second run over the same files must find the
same. Memory is the peak of the command's own process, without the database's.
"""
# ruff: noqa: T201

import argparse
import asyncio
import csv
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.storage.embedded import EmbeddedPostgres

START = datetime(2026, 10, 2, tzinfo=UTC)  # the first day has no orders: it is a neighbour
KINDS = (
    "amount",
    "currency",
    "fee",
    "fee_unknown",
    "transaction_id",
    "time",
    "ids",
    "status",
    "listed_twice",
    "not_listed",
    "not_ours",
    "refund_amount",
    "refund_currency",
    "refund_fee",
    "refund_status",
    "refund_not_listed",
    "refund_not_ours",
    "refunded_elsewhere",
    "orphan_notice",
)
PAYMENT_HEADER = (
    "Time (UTC)",
    "Transaction ID",
    "Prepay ID",
    "Merchant Trade No",
    "Currency",
    "Amount",
    "Commission",
    "Net",
)
REFUND_HEADER = ("Time (UTC)", "Refund Request ID", *PAYMENT_HEADER[2:])


@dataclass(frozen=True)
class Plan:
    """Which orders there are and what is wrong with some; all of it follows from the number."""

    orders: int
    days: int
    each: int  # discrepancies planted of each kind

    def kind_of(self, number: int) -> str | None:
        """Say what is planted on one order."""
        index = number // self.each
        return KINDS[index] if index < len(KINDS) else None

    def is_refunded(self, number: int) -> bool:
        """Say whether we sent a refund of it: one in twenty, and where a refund is to differ."""
        kind = self.kind_of(number)
        if kind is None:
            return number % 20 == 19
        return kind.startswith("refund_") and kind != "refund_not_ours"

    def paid_at(self, number: int) -> datetime:
        """Return when it was paid."""
        day, second = number % self.days, number * 7919 % 80_000
        return START + timedelta(days=1 + day, seconds=second)


def main(arguments: list[str]) -> int:
    """Fill, reconcile, print; exit code 1 where planted and found differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=10)
    options = parser.parse_args(arguments)
    plan = Plan(options.orders, options.days, max(1, options.orders // 10_000))
    if plan.each * len(KINDS) > plan.orders or not 1 <= plan.days <= 40:
        print(f"at least {len(KINDS)} orders and 1 to 40 days are needed")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedPostgres.start(folder / "postgres") as server:
            server.ensure_database("bench")
            return measure(plan, folder, server.url(database="bench"))


def measure(plan: Plan, folder: Path, url: str) -> int:
    """Prepare, run the command twice, and print the figures."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
        "CHECKSTAND_DATABASE_URL": url,
        "CHECKSTAND_SECRET_KEY": "bench" * 8,
        "CHECKSTAND_LOG_LEVEL": "warning",
        "BINANCE_PAY_API_KEY": "bench",
        "BINANCE_PAY_API_SECRET": "bench",
        "BINANCE_PAY_BASE_URL": "http://127.0.0.1:9",
    }
    run(environment, folder, "columns", "list")  # opens the account
    began = time.monotonic()
    asyncio.run(fill(plan, url))
    payments, refunds = folder / "payments.csv", folder / "refunds.csv"
    lines = write(payments, PAYMENT_HEADER, payment_lines(plan))
    lines += write(refunds, REFUND_HEADER, refund_lines(plan))
    size = payments.stat().st_size + refunds.stat().st_size
    print(
        f"{plan.orders:,} orders, {lines:,} lines in {size / 1e6:.0f} MB"
        f" (made in {time.monotonic() - began:.0f} s)"
    )
    last = START + timedelta(days=plan.days + 1)
    command = ("--from", f"{START:%Y-%m-%d}", "--to", f"{last:%Y-%m-%d}", "--complete")
    files = ("--file", str(payments), "--file", str(refunds))
    outputs = []
    for label in ("reconciled", "the same again"):
        output, code, seconds, cpu, peak = run(environment, folder, *command, *files)
        outputs.append(output)
        print(
            f"{label}: {seconds:.1f} s, {cpu:.1f} s of CPU in the command,"
            f" {peak / 1024:.0f} MiB at most, exit code {code}"
        )
    return judge(plan, asyncio.run(found_by_kind(url)), outputs)


def judge(plan: Plan, found: dict[str, int], outputs: list[str]) -> int:
    """Print planted beside found; return 1 where they differ."""
    planted = dict.fromkeys(KINDS, plan.each)
    for kind in sorted({*planted, *found}):
        word = "" if planted.get(kind, 0) == found.get(kind, 0) else "   differs"
        print(f"{kind:20} planted {planted.get(kind, 0):>6}   found {found.get(kind, 0):>6}{word}")
    same = _totals(outputs[0]) == _totals(outputs[1])
    print("planted = found" if planted == found else "PLANTED AND FOUND DIFFER")
    print("the second run found the same" if same else "THE SECOND RUN FOUND ANOTHER THING")
    return 0 if planted == found and same else 1


def _totals(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(("20", "open:"))]


def run(
    environment: dict[str, str], folder: Path, *arguments: str
) -> tuple[str, int, float, float, int]:
    """Run the command; return output, exit code, seconds, CPU seconds and peak kB of memory."""
    program = Path(sys.executable).with_name("checkstand")
    log = folder / "output"
    began = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603  (our own command)
            [program, "reconcile", *arguments], env=environment, cwd=folder, stdout=file
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode not in {0, 3}:
        raise SystemExit(f"checkstand reconcile ended with {process.returncode}")
    return (
        log.read_text(),
        process.returncode,
        seconds,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss,
    )


def id_of(word: str, number: int) -> UUID:
    """Derive an id as the statements below do."""
    return UUID(hashlib.md5(f"{word}{number}".encode(), usedforsecurity=False).hexdigest())


def payment_lines(plan: Plan) -> Iterator[tuple[str, ...]]:  # noqa: C901  (one case a kind)
    """Yield what Binance lists of payments, with what is planted there."""
    for number in range(plan.orders):
        kind, at = plan.kind_of(number), plan.paid_at(number)
        cents = number % 9_900 + 100
        amount, fee, currency = Decimal(cents) / 100, Decimal(cents) / 10_000, "USDT"
        transaction, prepay = f"P_{number:012x}", 270_000_000_000_000_000 + number
        trade_no = id_of("attempt", number).hex
        if kind == "not_listed":
            continue
        if kind == "not_ours":
            yield _line(at, f"P_foreign{number}", 10**17 + number, "x" * 30, "1.5", "0.1")
        match kind:
            case "amount":
                amount += Decimal("0.01")
            case "currency":
                currency = "USDC"
            case "fee":
                fee += Decimal("0.00000001")
            case "transaction_id":
                transaction = f"P_other_{number}"
            case "time":
                at += timedelta(days=1, minutes=1)
            case "ids":
                prepay = 270_000_000_000_000_000 + plan.orders - 1 - number
        line = _line(at, transaction, prepay, trade_no, f"{amount:.8f}", f"{fee:.8f}", currency)
        yield line
        if kind == "listed_twice":
            yield line


def _line(
    at: datetime,
    transaction: str,
    prepay: int,
    trade_no: str,
    amount: str,
    fee: str,
    currency: str = "USDT",
) -> tuple[str, ...]:
    net = f"{Decimal(amount) - Decimal(fee):f}"
    moment = f"{at:%Y-%m-%d %H:%M:%S}"
    return (moment, transaction, str(prepay), trade_no, currency, amount, fee, net)


def refund_lines(plan: Plan) -> Iterator[tuple[str, ...]]:
    """Yield what Binance lists of refunds."""
    for number in range(plan.orders):
        kind = plan.kind_of(number)
        listed = plan.is_refunded(number) or kind in {"refund_not_ours", "refunded_elsewhere"}
        if not listed or kind == "refund_not_listed":
            continue
        at, amount, fee, currency = plan.paid_at(number), "1.00", "0.01", "USDT"
        reference, prepay = id_of("refund", number).hex, 270_000_000_000_000_000 + number
        trade_no = id_of("attempt", number).hex
        match kind:
            case "refund_amount":
                amount = "1.01"
            case "refund_currency":
                currency = "USDC"
            case "refund_fee":
                fee = "0.02"
            case "refund_not_ours":
                reference, prepay, trade_no = f"portal-{number}", 10**17 + number, "y" * 30
            case "refunded_elsewhere":
                reference = f"portal-{number}"
        yield _line(at, reference, prepay, trade_no, amount, fee, currency)


def write(path: Path, header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> int:
    """Write a file and return how many lines it has."""
    count = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


async def fill(plan: Plan, url: str) -> None:
    """Write orders, attempts, payments and refunds as the gateway would have left them."""
    connection = await asyncpg.connect(url)
    try:
        credential_id = await connection.fetchval("SELECT credential_id FROM credentials")
        # Nothing written here is wrong, and a million checks of it would take minutes.
        await connection.execute("SET session_replication_role = replica")
        async with connection.transaction():
            for table, columns, rows in (
                ("orders", _ORDER, _orders(plan)),
                ("attempts", _ATTEMPT, _attempts(plan, credential_id)),
                ("payments", _PAYMENT, _payments(plan)),
                ("refunds", _REFUND, _refunds(plan)),
                ("notices", _NOTICE, _notices(plan)),
            ):
                await connection.copy_records_to_table(table, columns=columns, records=rows)
        # What the database's own housekeeping does within minutes of such a change.
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


_ORDER = (
    "account_id",
    "order_id",
    "merchant_order_id",
    "status",
    "previous_status",
    "version",
    "amount",
    "currency",
    "terms",
    "checkout_token",
    "created_at",
    "expires_at",
    "settled_by",
    "paid_at",
)
_ATTEMPT = (
    "account_id",
    "order_id",
    "attempt_id",
    "number",
    "status",
    "credential_id",
    "merchant_trade_no",
    "prepay_id",
    "expected_amount",
    "expected_currency",
    "created_at",
    "expires_at",
    "payer_active",
    "sends",
    "absences",
    "closes",
    "asks",
    "ended_at",
)
_PAYMENT = (
    "account_id",
    "order_id",
    "attempt_id",
    "payment_id",
    "amount",
    "currency",
    "fee",
    "transaction_id",
    "paid_at",
    "received_at",
    "held",
)
_REFUND = (
    "account_id",
    "order_id",
    "attempt_id",
    "payment_id",
    "refund_id",
    "merchant_refund_id",
    "amount",
    "currency",
    "requested_at",
    "requested_by",
    "status",
    "is_elsewhere",
    "sends",
    "in_doubt",
    "absences",
    "returned",
    "fee_returned",
    "ended_at",
    "asks",
)
_NOTICE = (
    "account_id",
    "notice_id",
    "fingerprint",
    "biz_type",
    "biz_id",
    "biz_status",
    "serial",
    "signed_at",
    "received_at",
    "own_path",
    "raw",
    "outcome",
    "explanation",
)

Rows = Iterator[tuple[Any, ...]]
_ACCOUNT = DEFAULT_ACCOUNT_ID
#: Read by the order's own renderer when the shop is told of a discrepancy.
_TERMS = (
    '{"description": "Tea", "goods": [], "support_pay_currency": null, "return_url": null, '
    '"cancel_url": null, "metadata": {}, "terminal": "WEB"}'
)


def _orders(plan: Plan) -> Rows:
    for number in range(plan.orders):
        at, paid = plan.paid_at(number), plan.kind_of(number) != "status"
        status, before = ("PAID", "PENDING_PAYMENT") if paid else ("EXPIRED", "PENDING_PAYMENT")
        yield (
            _ACCOUNT,
            id_of("order", number),
            f"shop-{number}",
            status,
            before,
            3,
            Decimal(number % 9_900 + 100) / 100,
            "USDT",
            _TERMS,
            f"token{number:027}",
            at - timedelta(minutes=2),
            at + timedelta(days=1),
            id_of("payment", number) if paid else None,
            at if paid else None,
        )


def _attempts(plan: Plan, credential_id: UUID) -> Rows:
    for number in range(plan.orders):
        at, paid = plan.paid_at(number), plan.kind_of(number) != "status"
        attempt_id = id_of("attempt", number)
        yield (
            _ACCOUNT,
            id_of("order", number),
            attempt_id,
            1,
            "PAID" if paid else "LAPSED",
            credential_id,
            attempt_id.hex,
            str(270_000_000_000_000_000 + number),
            Decimal(number % 9_900 + 100) / 100,
            "USDT",
            at - timedelta(minutes=2),
            at + timedelta(hours=1),
            False,
            1,
            0,
            0,
            0,
            at,
        )


def _payments(plan: Plan) -> Rows:
    for number in range(plan.orders):
        kind, at = plan.kind_of(number), plan.paid_at(number)
        if kind == "status":
            continue
        cents = number % 9_900 + 100
        yield (
            _ACCOUNT,
            id_of("order", number),
            id_of("attempt", number),
            id_of("payment", number),
            Decimal(cents) / 100,
            "USDT",
            None if kind == "fee_unknown" else Decimal(cents) / 10_000,
            f"P_{number:012x}",
            at,
            at + timedelta(seconds=1),
            False,
        )


def _refunds(plan: Plan) -> Rows:
    for number in range(plan.orders):
        if not plan.is_refunded(number):
            continue
        at, refund_id = plan.paid_at(number), id_of("refund", number)
        went = plan.kind_of(number) != "refund_status"
        yield (
            _ACCOUNT,
            id_of("order", number),
            id_of("attempt", number),
            id_of("payment", number),
            refund_id,
            f"refund-{number}",
            Decimal("1.00"),
            "USDT",
            at,
            "merchant",
            "SUCCEEDED" if went else "PENDING",
            False,
            1,
            False,
            0,
            Decimal("1.00") if went else None,
            Decimal("0.01") if went else None,
            at if went else None,
            0,
        )


def _notices(plan: Plan) -> Rows:
    for number in range(plan.orders):
        if plan.kind_of(number) == "orphan_notice":
            at, notice_id = plan.paid_at(number), id_of("notice", number)
            yield (
                _ACCOUNT,
                notice_id,
                notice_id.bytes,
                "PAY",
                str(10**17 + number),
                "PAY_SUCCESS",
                "bench",
                at,
                at,
                True,
                b"{}",
                "orphan",
                "nothing of ours fits",
            )


async def found_by_kind(url: str) -> dict[str, int]:
    """Count what the run wrote down."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT kind, count(*) AS found FROM discrepancies"
            " WHERE resolution IS DISTINCT FROM 'agreed' GROUP BY kind"
        )
    finally:
        await connection.close()
    return {row["kind"]: row["found"] for row in rows}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
