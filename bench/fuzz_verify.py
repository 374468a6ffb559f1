"""Throw broken notifications at `verify`: nothing but its own errors may come out.

    python bench/fuzz_verify.py [--inputs N] [--seed N]

Half are signed after they were broken (Binance itself would have sent them), half before or not at
all (a stranger did). Every input follows from the seed and its number, both printed where
something is wrong. Prints how each kind of input ended; exit code 1 at the first accident.
"""
# ruff: noqa: T201

import argparse
import collections
import json
import random  # noqa: TID251 - inputs that can be made again
import sys
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from checkstand.binance import (
    Notification,
    SignatureVerificationError,
    UnreadableNotification,
    verify,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SERIAL, NONCE = "A" * 32, "n" * 32
TIMESTAMP = str(int(NOW.timestamp() * 1000))
NAMES = tuple(
    f"BinancePay-{name}" for name in ("Certificate-SN", "Nonce", "Timestamp", "Signature")
)
INFO = {"refundRequestId": "RF1", "prepayId": "2703", "refundAmount": "5.0", "remainingAttempts": 9}
PAYER = {
    "payMethod": "funding",
    "paymentInstructions": [{"currency": "BNB", "amount": 1, "price": 2}],
}
SALE = {
    "merchantTradeNo": "T1",
    "totalFee": 0.88,
    "currency": "USDT",
    "transactTime": 1619508939664,
}
DATA: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("PAY", "PAY_SUCCESS", {**SALE, "commission": 0, "paymentInfo": PAYER, "openUserId": "u"}),
    ("PAY", "PAY_CLOSED", {**SALE, "productType": "01", "productName": "Grüner Tee ☕"}),
    ("PAY_REFUND", "REFUND_SUCCESS", {**SALE, "refundInfo": INFO}),
    ("PAY_REFUND", "REFUND_REJECTED", {**SALE, "refundInfo": json.dumps(INFO)}),
    ("BALANCE", "BALANCE_SUCCESS", {"downloadId": 197430692664600001, "createTime": "17"}),
    ("PAYOUT", "SUCCESS", {"requestId": "P", "totalAmount": 2.0, "totalNumber": 2}),
)
#: What parsers stumble over.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**40, 1e308, -0.0, "", "NaN", "1e999999", "-0", "0x1", "\ud800",
    "\x00", [], {}, [[]], [None], {"": None}, "9" * 70, "1." + "0" * 70, "二", "{}", "[",
)  # fmt: skip
ODD_BYTES = (
    b"\x00", b"\xff", b"\xc3", b'"', b"\\", b"\\u", b"\\ud800", b"{", b"}", b"[" * 60, b",", b":",
    b"1e999999999", b"NaN", b"-", b"\n", b" ", b"\xef\xbb\xbf", b"/**/", b"0" * 80, b"[" * 20000,
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    # Small, because what is tried here is the reading; nothing else about it is different.
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    keys: dict[str, Any] = {SERIAL: key.public_key()}
    ended: collections.Counter[tuple[str, str]] = collections.Counter()
    for number in range(options.inputs):
        dice = random.Random(f"{options.seed}/{number}")  # noqa: S311
        is_binance = dice.random() < 0.5
        body, headers = make_input(dice, key, is_binance=is_binance)
        try:
            how = judge(body, headers, keys, is_binance=is_binance)
        except BaseException as accident:  # noqa: BLE001 - a panic of a native library is one too
            print(f"seed {options.seed} input {number}: {accident!r}\n{body!r}\n{headers!r}")
            return 1
        ended["signed last" if is_binance else "a stranger's", how] += 1
    for (kind, how), times in sorted(ended.items()):
        print(f"{kind:14}{how:28}{times:>10}")
    return 0


def judge(body: bytes, headers: dict[str, str], keys: dict[str, Any], *, is_binance: bool) -> str:
    """Return how it ended; let through what must not come out."""
    try:
        outcome = verify(body, headers, keys, NOW, past_seconds=None)
    except SignatureVerificationError as error:
        if is_binance:
            raise AssertionError("signed, yet refused") from error
        return type(error).__name__
    except UnreadableNotification as error:
        if not is_binance:
            raise AssertionError("believed, yet not signed") from error
        return type(error).__name__
    if not is_binance:
        raise AssertionError("believed, yet not signed")
    if not (isinstance(outcome, Notification) and outcome.biz_id and outcome.raw == body):
        raise AssertionError("read, yet not whole")
    return f"{type(outcome.data).__name__}"


def make_input(
    dice: random.Random, key: rsa.RSAPrivateKey, *, is_binance: bool
) -> tuple[bytes, dict[str, str]]:
    """Make one request: broken, then signed; or signed or not, then broken."""
    body = make_body(dice)
    if is_binance:
        for _ in range(dice.randrange(3)):
            body = break_bytes(dice, body)
        return body, sign(key, body)
    values = (SERIAL, NONCE, TIMESTAMP, b64encode(dice.randbytes(128)).decode())
    headers = dict(zip(NAMES, values, strict=True))
    if dice.random() < 0.2:  # signing costs most of the time
        headers = sign(key, body)
        body += dice.choice((b" ", b"\n", b"\x00"))  # so that it is never right by chance
    for _ in range(dice.randrange(3)):
        body = break_bytes(dice, body)
    for _ in range(dice.randrange(4)):
        break_header(dice, headers)
    return body, headers


def make_body(dice: random.Random) -> bytes:
    """Write a notification with some of its values replaced."""
    biz_type, biz_status, data = dice.choice(DATA)
    data = break_values(dice, data)
    body: dict[str, Any] = {
        "bizType": biz_type,
        "data": data if dice.random() < 0.2 else json.dumps(data),
        "bizIdStr": "29383937493038367292",
        "bizId": 29383937493038367292,
        "bizStatus": biz_status,
    }
    if dice.random() < 0.3:
        body = break_values(dice, body)
    return json.dumps(body, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")


def break_values(dice: random.Random, values: dict[str, Any]) -> dict[str, Any]:
    """Replace, drop or add some fields."""
    broken = dict(values)
    for name in [*values, "new"]:
        luck = dice.random()
        if luck < 0.05:
            broken.pop(name, None)
        elif luck < 0.2:
            broken[name] = dice.choice(ODD)
        elif luck < 0.25 and isinstance(values.get(name), dict):
            broken[name] = break_values(dice, values[name])
    return broken


def break_bytes(dice: random.Random, body: bytes) -> bytes:
    """Cut, repeat, or put something odd somewhere."""
    begin, end = sorted(dice.randrange(len(body) + 1) for _ in range(2))
    match dice.randrange(4):
        case 0:
            return body[:begin] + body[end:]
        case 1:
            return body[:end] + body[begin:]
        case 2:
            return body[:begin] + dice.choice(ODD_BYTES) + body[begin:]
        case _:
            return body[:begin] + dice.randbytes(dice.randrange(8)) + body[begin + 1 :]


def break_header(dice: random.Random, headers: dict[str, str]) -> None:
    """Drop, rename or rewrite one header."""
    name = dice.choice(NAMES)
    value = headers.pop(name, "")
    match dice.randrange(5):
        case 0:
            pass
        case 1:
            headers[name.lower()] = value
        case 2:
            headers[name] = value[: dice.randrange(len(value) + 1)]
        case 3:
            headers[name] = dice.choice(("", " ", "0", "9" * 40, "\n", "é", "=", "-1", "1" * 14))
        case _:
            headers[name] = "".join(chr(dice.randrange(1, 0x2FF)) for _ in range(5))


def sign(key: rsa.RSAPrivateKey, body: bytes) -> dict[str, str]:
    """Sign as Binance does."""
    payload = f"{TIMESTAMP}\n{NONCE}\n".encode() + body + b"\n"
    signature = key.sign(payload, padding.PKCS1v15(), SHA256())
    return dict(zip(NAMES, (SERIAL, NONCE, TIMESTAMP, b64encode(signature).decode()), strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
