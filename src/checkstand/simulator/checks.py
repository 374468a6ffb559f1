"""What a request must pass before its fields are looked at, in the order of the service.

Headers' format, key, timestamp, then the signature over the raw bytes. Which codes the real
service gives for absent or malformed headers is not documented; 400001 and 400005 are guesses.
"""

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from checkstand.simulator.records import FEATURES, Credential
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.signing import request_signature
from checkstand.simulator.world import World

_KEY_FORMAT = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_NONCE_FORMAT = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
_TIMESTAMP_FORMAT = re.compile(r"[0-9]{1,19}", re.ASCII)


def check_request(
    world: World, headers: Mapping[str, str], body: bytes, *, client_ip: str, now_ms: int
) -> Credential:
    """Return whose key signed these bytes; raise `Rejection` with the first thing wrong."""
    api_key = headers.get("binancepay-certificate-sn", "")
    timestamp = headers.get("binancepay-timestamp", "")
    nonce = headers.get("binancepay-nonce", "")
    if not _TIMESTAMP_FORMAT.fullmatch(timestamp) or not _NONCE_FORMAT.fullmatch(nonce):
        raise Rejection("400001")
    if not _KEY_FORMAT.fullmatch(api_key):
        raise Rejection("400005")
    credential = world.store.credentials.get(api_key)
    if credential is None or not is_trusted(client_ip, credential.trusted_ips):
        raise Rejection("400004")
    if abs(now_ms - int(timestamp)) > world.settings.timestamp_window_ms:
        raise Rejection("400003")
    expected = request_signature(
        secret=credential.api_secret, timestamp=timestamp, nonce=nonce, body=body
    )
    sent = headers.get("binancepay-signature", "")
    if not hmac.compare_digest(expected.encode(), sent.encode()):
        raise Rejection("400002")
    _check_replay(world, (api_key, nonce, timestamp))
    return credential


def _check_replay(world: World, triple: tuple[str, str, str]) -> None:
    if not world.settings.rejects_repeated_nonce:
        return
    if triple in world.store.nonces:
        raise Rejection("400001")
    world.store.nonces.add(triple)


def is_trusted(address: str, trusted: AbstractSet[str]) -> bool:
    """Say whether a caller's address is among a key's addresses and networks; none means any."""
    if not trusted:
        return True
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(caller in ipaddress.ip_network(each, strict=False) for each in trusted)


def check_features(features: Iterable[str]) -> frozenset[str]:
    """Return what a key may do; raise ValueError on a word that is no feature."""
    wanted = frozenset(features)
    if unknown := sorted(wanted - FEATURES):
        raise ValueError(f"unknown feature {unknown[0]!r}; known are {', '.join(sorted(FEATURES))}")
    return wanted


def check_networks(addresses: Iterable[str]) -> frozenset[str]:
    """Return addresses and networks; raise ValueError on what is neither."""
    wanted = frozenset(addresses)
    for each in wanted:
        ipaddress.ip_network(each, strict=False)
    return wanted
