"""What a notice costs, beside what PostgreSQL and HTTP cost by themselves, in one run.

    python bench/notices.py [--notices N] [--rounds N]

Each round sends fresh notices, genuinely signed, about open orders: to one gateway process, then
to two; has pgbench write the same rows by one statement and one commit each, with several numbers
of clients, of which the best counts; and sends the same bodies to a bare ASGI echo. The middle
round counts. Read the ratios, not the rates: sender, gateway and PostgreSQL share the machine. The
database flushes every commit to disk, as in production. Linux only: CPU is read from /proc.
"""
# ruff: noqa: T201

import argparse
import asyncio
import contextlib
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from checkstand.storage.embedded import EmbeddedPostgres

HERE = Path(__file__).parent
RATE_AIMS = {1: 0.75, 2: 1.0}  # gateway processes: of pgbench's best rate
ECHOES_LEAST = 3_000
CPU_AIM = 2.5  # times the echo's CPU
CLIENTS = (4, 16, 48)  # of pgbench
PREFIX = "29"  # of Binance's ids
SERIAL = "bench"


def main(arguments: list[str]) -> int:
    """Measure and print; exit code 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--notices", type=int, default=3000, help="per measure and round")
    parser.add_argument("--rounds", type=int, default=3)
    # Binance's own number is not known; enough to let groups form.
    parser.add_argument("--connections", type=int, default=96)
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as directory,
        stage(Path(directory), options.connections) as set_up,
    ):
        rounds = [measure(set_up, options.notices) for _ in range(options.rounds)]
    return report(rounds)


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured side by side."""

    rates: dict[int, float]  # notices a second, by gateway processes
    pgbench: float  # transactions a second, the best of several numbers of clients
    cpu: float  # seconds of the one gateway process a notice
    echo: float  # seconds of the echo a body


def report(rounds: Sequence[Round]) -> int:
    """Print the middle of the rounds' ratios; say what falls short."""
    missed = []
    pgbench = statistics.median(r.pgbench for r in rounds)
    print(f"{'pgbench, the same rows':36}{pgbench:8.0f}/s")
    for processes, aim in RATE_AIMS.items():
        rate = statistics.median(r.rates[processes] for r in rounds)
        ratio = statistics.median(r.rates[processes] / r.pgbench for r in rounds)
        name = f"notices, {processes} gateway process{'es' if processes > 1 else ''}"
        print(f"{name:36}{rate:8.0f}/s {ratio:6.2f}")
        if ratio < aim:
            missed.append(f"missed: {name} is {ratio:.2f} of pgbench's, aimed at {aim}")
    echo = statistics.median(r.echo for r in rounds)
    cpu = statistics.median(r.cpu for r in rounds)
    ratio = statistics.median(r.cpu / r.echo for r in rounds)
    print(f"{'CPU per echo':36}{echo * 1e6:8.0f} µs")
    print(f"{'CPU per notice':36}{cpu * 1e6:8.0f} µs {ratio:6.2f}")
    if ratio > CPU_AIM:
        missed.append(f"missed: a notice costs {ratio:.2f} times an echo, aimed at {CPU_AIM}")
    for line in missed:
        print(line)
    return 1 if missed else 0


@dataclass(slots=True)
class Stage:
    """A database with an account, and the key that Binance signs with here."""

    server: EmbeddedPostgres
    url: str
    environment: dict[str, str]
    key: RSAPrivateKey
    account_id: str
    notice_path: str
    connections: int  # that notices come over
    orders: int = 0  # made so far

    def sql(self, text: str, *values: object) -> str | None:
        """Run one statement as the owner; return its first value."""

        async def run() -> str | None:
            connection = await asyncpg.connect(self.url)
            try:
                value: str | None = await connection.fetchval(text, *values)
                return value
            finally:
                await connection.close()

        return asyncio.run(run())

    def open_orders(self, count: int) -> range:
        """Write that many open orders, each with its attempt; return their numbers."""
        made = range(self.orders + 1, self.orders + count + 1)
        self.orders += count
        self.sql(OPEN_ORDERS, self.account_id, made.start, made.stop - 1)
        self.sql(OPEN_ATTEMPTS, self.account_id, made.start, made.stop - 1)
        self.sql("VACUUM (ANALYZE) orders, attempts")
        self.sql("CHECKPOINT")
        return made

    def requests(self, orders: range) -> list[bytes]:
        """Write the notices of these orders as HTTP requests."""
        attempts = self.sql(
            "SELECT string_agg(merchant_trade_no, ',' ORDER BY prepay_id::numeric) FROM attempts"
            " WHERE prepay_id::numeric BETWEEN $1 AND $2",
            int(f"{PREFIX}{orders.start}"),
            int(f"{PREFIX}{orders.stop - 1}"),
        )
        numbers = (attempts or "").split(",")
        return [self._request(k, number) for k, number in zip(orders, numbers, strict=True)]

    def _request(self, order: int, trade_number: str) -> bytes:
        body = notice_body(order, trade_number)
        now_ms = time.time_ns() // 1_000_000  # noqa: TID251  (when Binance signs it)
        timestamp, nonce = str(now_ms), os.urandom(16).hex()
        payload = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = self.key.sign(payload, PKCS1v15(), SHA256())
        head = (
            f"POST /api/payments/binance/webhook/{self.notice_path} HTTP/1.1\r\n"
            "host: 127.0.0.1\r\ncontent-type: application/json;charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nBinancePay-Certificate-SN: {SERIAL}\r\n"
            f"BinancePay-Nonce: {nonce}\r\nBinancePay-Timestamp: {timestamp}\r\n"
            f"BinancePay-Signature: {b64(signature)}\r\n\r\n"
        )
        return head.encode() + body


def measure(stage: Stage, count: int) -> Round:
    """Measure everything once, one after the other."""
    taken = {processes: through_gateways(stage, processes, count) for processes in RATE_AIMS}
    return Round(
        rates={processes: rate for processes, (rate, _) in taken.items()},
        pgbench=best_of_pgbench(stage, count),
        cpu=taken[1][1],
        echo=through_echo(stage, count),
    )


def through_gateways(stage: Stage, processes: int, count: int) -> tuple[float, float]:
    """Return the notices a second, and the processes' seconds of CPU for each."""
    orders, warming = stage.open_orders(count), stage.open_orders(stage.connections * 4)
    with contextlib.ExitStack() as running:
        gateways = [running.enter_context(gateway(stage)) for _ in range(processes)]
        # Prepared statements, pools and caches are there before the clock runs.
        send(stage, stage.requests(warming), gateways)
        requests = stage.requests(orders)
        before = sum(cpu_of(server.pid) for server in gateways)
        seconds = send(stage, requests, gateways)
        cpu = sum(cpu_of(server.pid) for server in gateways) - before
    check_paid(stage, orders)
    return count / seconds, cpu / count


def through_echo(stage: Stage, count: int) -> float:
    """Return the seconds of CPU that a bare ASGI app needs for each of the same bodies."""
    requests = stage.requests(range(1, count + 1))
    command = [sys.executable, str(HERE / "notices_echo.py")]
    with served(command, stage.environment) as bare:
        send(stage, requests, [bare])
        before, sent = cpu_of(bare.pid), 0
        while sent < ECHOES_LEAST:  # a process's CPU is counted in hundredths
            send(stage, requests, [bare])
            sent += count
        return (cpu_of(bare.pid) - before) / sent


def check_paid(stage: Stage, orders: range) -> None:
    """Make sure that every order was paid by its notice: nothing else counts."""
    paid = stage.sql(
        "SELECT count(*)::text FROM payments p JOIN notices n USING (account_id, attempt_id)"
        " WHERE n.outcome = 'applied' AND n.biz_id::numeric BETWEEN $1 AND $2",
        int(f"{PREFIX}{orders.start}"),
        int(f"{PREFIX}{orders.stop - 1}"),
    )
    if paid != str(len(orders)):
        raise RuntimeError(f"{len(orders)} notices sent, {paid} orders paid")


def best_of_pgbench(stage: Stage, count: int) -> float:
    """Return the best rate of one statement and one commit for each notice."""
    rates = []
    for clients in CLIENTS:
        each = count // clients
        orders = stage.open_orders(each * clients)
        sample = notice_body(orders.start, os.urandom(16).hex())
        variables = {
            "n": 0,
            "base": orders.start - 1,
            "each": each,
            "account": stage.account_id,
            "prefix": PREFIX,
            "raw": sample.hex(),
            "event": stage.sql("SELECT body FROM events ORDER BY created_at DESC LIMIT 1") or "",
        }
        command = [
            *(str(stage.server.bin("pgbench")), "--no-vacuum", "--protocol=prepared"),
            *(f"--client={clients}", "--jobs=2", f"--transactions={each}"),
            *(f"--define={name}={value}" for name, value in variables.items()),
            *(f"--file={HERE / 'notices.sql'}", stage.url),
        ]
        told = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, env=stage.environment
        )
        if told.returncode != 0:
            raise RuntimeError(told.stderr)
        rates.append(float(re.findall(r"tps = ([0-9.]+)", told.stdout)[0]))
        if "number of failed transactions: 0" not in told.stdout:
            raise RuntimeError(told.stdout)
        written = stage.sql(
            "SELECT count(*)::text FROM orders WHERE merchant_order_id = ANY($1)"
            " AND status = 'PAID'",
            [str(k) for k in orders],
        )
        if written != str(len(orders)):
            raise RuntimeError(f"pgbench paid {written} of {len(orders)} orders")
    return max(rates)


def send(stage: Stage, requests: Sequence[bytes], servers: Sequence["Server"]) -> float:
    """Send requests to servers, shared among them; return the seconds it took."""
    packed = b"".join(struct.pack(">I", len(request)) + request for request in requests)
    told = subprocess.run(  # noqa: S603
        [
            *(sys.executable, str(HERE / "notices_sender.py"), str(stage.connections)),
            *(server.address for server in servers),
        ],
        input=packed,
        capture_output=True,
        check=True,
    )
    seconds, failed = told.stdout.split()
    if int(failed):
        raise RuntimeError(f"{int(failed)} of {len(requests)} were not answered with SUCCESS")
    return float(seconds)


@dataclass(frozen=True, slots=True)
class Server:
    """A running program that listens."""

    pid: int
    address: str


@contextlib.contextmanager
def gateway(stage: Stage) -> Iterator[Server]:
    """Run a gateway process, its duties left to others."""
    command = [sys.executable, "-m", "checkstand", "serve", "--no-worker", "--port", "0"]
    with served(command, stage.environment) as server:
        yield server


@contextlib.contextmanager
def served(command: Sequence[str], environment: dict[str, str]) -> Iterator[Server]:
    """Run a program that prints `ready` and its address."""
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield Server(process.pid, urlsplit(line.split()[-1]).netloc)
        finally:
            process.terminate()
            process.wait()


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used, all threads counted."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def stage(directory: Path, connections: int) -> Iterator[Stage]:
    """Start a database of our own with the newest schema and an account with Binance's key."""
    key = generate_private_key(65537, 2048)
    with EmbeddedPostgres.start(directory / "postgres") as server:
        server.ensure_database("bench")
        url = server.url(database="bench")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CHECKSTAND_", "PG"))}
        environment = kept | {
            "CHECKSTAND_DATABASE_URL": url,
            "CHECKSTAND_SECRET_KEY": os.urandom(32).hex(),
            "CHECKSTAND_LOG_LEVEL": "error",
            "BINANCE_PAY_API_KEY": os.urandom(32).hex(),
            "BINANCE_PAY_API_SECRET": os.urandom(32).hex(),
            "BINANCE_PAY_BASE_URL": "http://127.0.0.1:9",  # nobody listens; nobody is asked
        }
        made = Stage(server, url, environment, key, "", "", connections)
        with gateway(made):
            pass  # it migrates and opens the account
        made.account_id = made.sql("SELECT account_id::text FROM accounts LIMIT 1") or ""
        made.notice_path = made.sql("SELECT notice_path FROM accounts LIMIT 1") or ""
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        made.sql(
            "INSERT INTO certificates VALUES ($1::text::uuid, $2, $3, now(), now())",
            made.account_id,
            SERIAL,
            public.decode(),
        )
        yield made


OPEN_ORDERS = """
    INSERT INTO orders (
        account_id, order_id, merchant_order_id, status, previous_status, version, amount,
        currency, terms, checkout_token, created_at, expires_at
    )
    SELECT $1::text::uuid, md5(k || 'order')::uuid, k::text, 'PENDING_PAYMENT', 'CREATED', 2,
           12.50, 'USDT',
           '{"description": "A tin of green tea", "goods": [], "support_pay_currency": null,
             "return_url": "https://shop.example/thanks", "cancel_url": null,
             "expires_in_seconds": 86400, "terminal": "WEB", "metadata": {"cart": "77"}}',
           'reference' || md5(k || 'token'), now(), now() + interval '1 day'
      FROM generate_series($2::int, $3::int) AS k
"""
OPEN_ATTEMPTS = f"""
    INSERT INTO attempts (
        account_id, order_id, attempt_id, number, status, credential_id, merchant_trade_no,
        prepay_id, expected_amount, expected_currency, created_at, expires_at, links,
        payer_active, sends, absences, closes, asks, due_at
    )
    SELECT $1::text::uuid, md5(k || 'order')::uuid, md5(k || 'attempt')::uuid, 1, 'OPEN',
           c.credential_id, md5(k || 'attempt'), '{PREFIX}' || k, 12.50, 'USDT', now(),
           now() + interval '1 hour',
           '{{"qr_content": "https://qr.example/0000000000", "deeplink": "bnc://x/0000000000",
              "universal_url": "https://app.example/0000000000",
              "checkout_url": "https://pay.example/0000000000"}}',
           false, 1, 0, 0, 0, now() + interval '1 minute'
      FROM generate_series($2::int, $3::int) AS k, credentials c
"""  # noqa: S608


OPEN_USER_ID = "0123456789abcdef" * 2


def notice_body(order: int, trade_number: str) -> bytes:
    """Write a PAY_SUCCESS in the documented shape."""
    data = (
        f'{{"merchantTradeNo":"{trade_number}","productType":"01",'
        '"productName":"A tin of green tea","transactTime":1767226000000,'
        '"tradeType":"WEB",'
        '"totalFee":12.50000000,"currency":"USDT","transactionId":"P_A1B2C3D4E5",'
        f'"openUserId":"{OPEN_USER_ID}","passThroughInfo":"cs1:0:0:0",'
        '"commission":0.12500000,"paymentInfo":{"payerId":100000001,"payMethod":"funding",'
        '"paymentInstructions":[{"currency":"USDT","amount":12.50000000,"price":1}],'
        '"channel":"DEFAULT"}}'
    )
    number = f"{PREFIX}{order}"
    return (
        f'{{"bizType":"PAY","data":{json.dumps(data)},"bizIdStr":"{number}",'
        f'"bizId":{number},"bizStatus":"PAY_SUCCESS"}}'
    ).encode()


def b64(raw: bytes) -> str:
    """Write a signature as Binance does."""
    import base64

    return base64.b64encode(raw).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
