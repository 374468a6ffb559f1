"""What a request must pass before its fields are looked at, in the order of the service.

Headers' format, key, timestamp, then the signature over the raw bytes. Which codes the real
service gives for absent or malformed headers is not documented; 400001 and 400005 are guesses.
"""

import hmac
import re
from collections.abc import Mapping

from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.signing import request_signature
from checkstand.simulator.world import World

_KEY_FORMAT = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_NONCE_FORMAT = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
_TIMESTAMP_FORMAT = re.compile(r"[0-9]{1,19}", re.ASCII)


def check_request(world: World, headers: Mapping[str, str], body: bytes) -> Merchant:
    """Return who sent these bytes; raise `Rejection` with the first thing that is wrong."""
    api_key = headers.get("binancepay-certificate-sn", "")
    timestamp = headers.get("binancepay-timestamp", "")
    nonce = headers.get("binancepay-nonce", "")
    if not _TIMESTAMP_FORMAT.fullmatch(timestamp) or not _NONCE_FORMAT.fullmatch(nonce):
        raise Rejection("400001")
    if not _KEY_FORMAT.fullmatch(api_key):
        raise Rejection("400005")
    credential = world.store.credentials.get(api_key)
    if credential is None:
        raise Rejection("400004")
    if abs(world.clock.now_ms() - int(timestamp)) > world.settings.timestamp_window_ms:
        raise Rejection("400003")
    expected = request_signature(
        secret=credential.api_secret, timestamp=timestamp, nonce=nonce, body=body
    )
    sent = headers.get("binancepay-signature", "")
    if not hmac.compare_digest(expected.encode(), sent.encode()):
        raise Rejection("400002")
    _check_replay(world, (api_key, nonce, timestamp))
    return world.store.merchants[credential.merchant_id]


def _check_replay(world: World, triple: tuple[str, str, str]) -> None:
    if not world.settings.rejects_repeated_nonce:
        return
    if triple in world.store.nonces:
        raise Rejection("400001")
    world.store.nonces.add(triple)
