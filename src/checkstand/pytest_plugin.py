"""Fixtures for whoever tests against Binance Pay: a simulator, and notifications it signs.

pytest finds them by itself where the package is installed with its `simulator` extra; nothing is
loaded before a test asks. What the simulator can do is in its README.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from checkstand.simulator.signing import SignedNotice, SigningKey
    from checkstand.simulator.threads import ThreadedSimulator

#: What a payment's notification says unless a test says otherwise.
_PAYMENT: Mapping[str, Any] = {
    "merchantTradeNo": "TRADE1",
    "productType": "01",
    "productName": "Green tea",
    "transactTime": 1_767_226_000_000,
    "tradeType": "WEB",
    "totalFee": 12,
    "currency": "USDT",
    "transactionId": "P_A1B2C3",
    "commission": 0,
}


@pytest.fixture(scope="session")
def binance_pay_signing_key() -> "SigningKey":
    """The key webhooks are signed with: made once, as making one takes a while."""
    _need_simulator()
    from checkstand.simulator.signing import make_signing_key

    return make_signing_key()


@pytest.fixture
def binance_pay_simulator_options() -> Mapping[str, Any]:
    """Say what `running_simulator` is given besides; override it to choose seed or settings."""
    return {}


@pytest.fixture
def binance_pay_simulator(
    binance_pay_signing_key: "SigningKey", binance_pay_simulator_options: Mapping[str, Any]
) -> "Iterator[ThreadedSimulator]":
    """A simulator of its own for each test, in a thread, for synchronous and asynchronous tests.

    It has `base_url`, `api_key`, `api_secret`, `merchant_id`, and `control`.
    """
    from checkstand.simulator.threads import simulator_in_thread

    options = {"signing_key": binance_pay_signing_key, **binance_pay_simulator_options}
    with simulator_in_thread(**options) as simulator:
        yield simulator


@pytest.fixture
def signed_notification(
    binance_pay_simulator: "ThreadedSimulator",
) -> "Callable[..., SignedNotice]":
    """Build a notification: `body` as raw bytes and `headers`, signed by the simulator's key.

    Call it with `data`, `biz_type`, `biz_status`, `biz_id`, `timestamp_ms`, `bad_signature`, all
    optional. The fields of a payment are there unless `data` names them; ... leaves one out.
    """

    def sign(
        data: Mapping[str, Any] | None = None, *, biz_type: str = "PAY", **options: Any
    ) -> "SignedNotice":
        fields = {**(_PAYMENT if biz_type == "PAY" else {}), **(data or {})}
        fields = {name: value for name, value in fields.items() if value is not ...}
        return binance_pay_simulator.do(
            lambda control: control.sign(data=fields, biz_type=biz_type, **options)
        )

    return sign


def _need_simulator() -> None:
    try:
        import checkstand.simulator.server  # noqa: F401
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"binance_pay_simulator needs checkstand[simulator] ({error.name} is missing): "
            'pip install "checkstand[simulator]"'
        ) from error
