"""Where a delivery may go: what a webhook URL looks like and which addresses are refused.

A merchant, or whoever got hold of his key, chooses the URL, and the gateway stands inside a private
network: without these rules it would fetch from there for strangers. Pure; names are resolved and
their addresses checked again at every connection, by `network`.
"""

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from checkstand.errors import Refused

Address = IPv4Address | IPv6Address

URL_CHARACTERS_MOST = 2048  # what the database column and every proxy on the way can hold


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook URL taken apart once, so that no second parser can read it differently."""

    scheme: str
    host: str  # lower case; an IPv6 address without its brackets
    port: int  # the scheme's own if the URL names none
    path: str  # with the query; what the request line carries

    @property
    def host_header(self) -> str:
        """The `Host` header: brackets around IPv6, the port only if it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse a URL no delivery could go to; for use when an endpoint is registered.

    Raises `Refused` with field `url`. Asks no name server: what the name leads to is checked at
    each sending, since it may change at any time.
    """
    parse_url(url, allow_private=allow_private)


def parse_url(url: str, *, allow_private: bool) -> Target:
    """Take a webhook URL apart, or raise `Refused` with a sentence that says how to mend it."""
    if len(url) > URL_CHARACTERS_MOST:
        raise _refused(f"a webhook URL has at most {URL_CHARACTERS_MOST} characters")
    if not _PRINTABLE.fullmatch(url):
        raise _refused(
            "a webhook URL is plain ASCII without spaces or backslashes: write an international "
            "name in its xn-- form and percent-encode the path"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(f"this is not a URL: {error}") from None
    _check_shape(parts)
    host = (parts.hostname or "").removesuffix(".")
    _check_host(host, allow_private=allow_private)
    if port == 0:
        raise _refused("port 0 cannot be connected to")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        scheme=parts.scheme, host=host, port=port or _USUAL_PORTS[parts.scheme], path=path
    )


def why_refused(address: Address, *, allow_private: bool) -> str | None:
    """Say in a word or two what forbids this address, or None if a delivery may go there.

    `allow_private` opens the networks a shop really runs in (its own machine, its own network).
    Link-local stays closed even then: cloud machines hand out their credentials there.
    """
    if isinstance(address, IPv6Address) and address in _NAT64:
        # The translator of an IPv6-only network: what counts is where it leads.
        address = IPv4Address(int(address) & 0xFFFF_FFFF)
    for network, word in _OWN_NETWORKS:
        if address in network:
            return None if allow_private else word
    for network, word in _NEVER:
        if address in network:
            return word
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "not a public address"  # IPv4-mapped, site-local, unallocated, …
    return None


def _check_shape(parts: SplitResult) -> None:
    if parts.scheme not in _USUAL_PORTS:
        raise _refused("a webhook URL starts with https:// or http://")
    if "@" in parts.netloc:
        raise _refused("a webhook URL carries no user name or password: deliveries are signed")
    if parts.fragment:
        raise _refused("a webhook URL has no #fragment: it would never be sent")


def _check_host(host: str, *, allow_private: bool) -> None:
    address = _literal(host)
    if address is not None:
        word = why_refused(address, allow_private=allow_private)
        if word is not None:
            raise _refused(f"{host} is {word}: deliveries go to public addresses only")
        return
    if not _NAME.fullmatch(host):
        raise _refused("the URL's host is not a name a name server could know")
    if _ENDS_IN_NUMBER.search(host):
        # 127.1, 0x7f000001, 2130706433: old spellings of an address that checks like to miss.
        raise _refused("an IPv4 address is written as four plain decimal numbers")
    if not allow_private and ("." not in host or host.endswith(_LOCAL_ENDINGS)):
        raise _refused(f"{host} is a name of a private network: deliveries go to public ones only")


def _literal(host: str) -> Address | None:
    if "%" in host:  # fe80::1%eth0
        raise _refused("an address with a zone works on one machine only")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refused(message: str) -> Refused:
    return Refused("invalid_url", message, field="url")


_USUAL_PORTS = {"https": 443, "http": 80}
_PRINTABLE = re.compile(r"[!-\[\]-~]+")  # all of printable ASCII except the backslash
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)\Z")
_LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")

# From IANA's special-purpose registries, read in November 2026.
_OWN_NETWORKS: tuple[tuple[IPv4Network | IPv6Network, str], ...] = (
    (IPv4Network("127.0.0.0/8"), "a loopback address"),
    (IPv4Network("10.0.0.0/8"), "a private address"),
    (IPv4Network("172.16.0.0/12"), "a private address"),
    (IPv4Network("192.168.0.0/16"), "a private address"),
    (IPv4Network("100.64.0.0/10"), "a carrier's private address"),
    (IPv6Network("::1/128"), "a loopback address"),
    (IPv6Network("fc00::/7"), "a private address"),
)
_NEVER: tuple[tuple[IPv4Network | IPv6Network, str], ...] = (
    (IPv4Network("0.0.0.0/8"), "no destination"),
    (IPv4Network("169.254.0.0/16"), "a link-local address"),
    (IPv4Network("192.0.0.0/24"), "reserved for protocols"),
    (IPv4Network("192.0.2.0/24"), "reserved for documentation"),
    (IPv4Network("192.88.99.0/24"), "a 6to4 relay"),
    (IPv4Network("198.18.0.0/15"), "reserved for benchmarks"),
    (IPv4Network("198.51.100.0/24"), "reserved for documentation"),
    (IPv4Network("203.0.113.0/24"), "reserved for documentation"),
    (IPv4Network("224.0.0.0/4"), "a multicast address"),
    (IPv4Network("240.0.0.0/4"), "reserved"),
    # A public number, yet inside Azure it leads from every machine to its host.
    (IPv4Network("168.63.129.16/32"), "a cloud host's own address"),
    (IPv6Network("fe80::/10"), "a link-local address"),
    (IPv6Network("ff00::/8"), "a multicast address"),
    (IPv6Network("2001::/23"), "reserved for protocols"),  # Teredo, which wraps an IPv4 address
    (IPv6Network("2001:db8::/32"), "reserved for documentation"),
    (IPv6Network("2002::/16"), "a 6to4 address"),  # wraps an IPv4 address
    (IPv6Network("3fff::/20"), "reserved for documentation"),
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
