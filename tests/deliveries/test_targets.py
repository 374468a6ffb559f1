"""Which URLs are accepted for an endpoint and which addresses a delivery may reach."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkstand.deliveries.targets import check_url, parse_url, why_refused
from checkstand.errors import Refused


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "header"),
    [
        ("https://shop.example/hooks", "shop.example", 443, "/hooks", "shop.example"),
        ("HTTPS://Shop.Example./h?a=1", "shop.example", 443, "/h?a=1", "shop.example"),
        ("http://shop.example:8000", "shop.example", 8000, "/", "shop.example:8000"),
        ("https://xn--mller-kva.example/%C3%BC", "xn--mller-kva.example", 443, "/%C3%BC", None),
        ("https://[2606:4700::1]:444/x", "2606:4700::1", 444, "/x", "[2606:4700::1]:444"),
        ("https://8.8.8.8/x", "8.8.8.8", 443, "/x", "8.8.8.8"),
        ("https://a_b.shop.example/x", "a_b.shop.example", 443, "/x", None),
    ],
)
def test_a_public_url_is_taken_apart(
    url: str, host: str, port: int, path: str, header: str | None
) -> None:
    target = parse_url(url, allow_private=False)

    assert (target.host, target.port, target.path) == (host, port, path)
    assert target.host_header == (header or host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example/hooks",
        "//shop.example/hooks",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "gopher://shop.example/",
        "https://",
        "https:///hooks",
        "https://user@shop.example/",
        "https://user:word@shop.example/",
        "https://shop.example@169.254.169.254/",
        "https://shop.example\\@127.0.0.1/",
        "https://shop.example/a b",
        "https://shop.example/\r\nx: y",
        "https://shop.example\t/",
        "https://shöp.example/",
        "https://shop.example/ü",
        "https://shop.example/#part",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop.example:port/",
        "https://[::1/",
        "https://[2606:4700::1%eth0]/",
        "https://-shop.example/",
        "https://shop..example/",
        "https://" + "a" * 64 + ".example/",
        "https://shop.example/" + "a" * 2048,
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://1.2.3.4.5/",
    ],
)
@pytest.mark.parametrize("allow_private", [False, True])
def test_a_url_no_delivery_could_go_to_is_refused(url: str, allow_private: bool) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, allow_private=allow_private)

    assert (caught.value.field, caught.value.code) == ("url", "invalid_url")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8082/webhooks",
        "http://shop.localhost/",
        "http://shop/webhooks",
        "http://shop.internal/",
        "http://127.0.0.1:8082/webhooks",
        "http://10.1.2.3/",
        "http://172.31.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://[::1]/",
        "http://[fd00:ec2::254]/",
    ],
)
def test_the_merchants_own_network_is_open_only_where_allowed(url: str) -> None:
    check_url(url, allow_private=True)

    with pytest.raises(Refused):
        check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "4000::1",
    ],
)
@pytest.mark.parametrize("allow_private", [False, True])
def test_an_address_that_is_no_servers_is_always_refused(address: str, allow_private: bool) -> None:
    assert why_refused(ipaddress.ip_address(address), allow_private=allow_private)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "64:ff9b::a00:1"])
def test_a_private_address_is_refused_unless_allowed(address: str) -> None:
    assert why_refused(ipaddress.ip_address(address), allow_private=False)
    assert why_refused(ipaddress.ip_address(address), allow_private=True) is None


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"]
)
def test_a_public_address_is_open(address: str) -> None:
    assert why_refused(ipaddress.ip_address(address), allow_private=False) is None


SPECIAL_CORNERS = st.sampled_from(
    [
        int(ipaddress.ip_address(text))
        for text in ("::ffff:0:0", "64:ff9b::", "100::", "2001::", "2002::", "fc00::", "fe80::")
    ]
).flatmap(lambda start: st.integers(0, 2**34).map(lambda offset: start + offset))


@given(
    address=st.ip_addresses()
    | SPECIAL_CORNERS.map(ipaddress.IPv6Address)
    | st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
)
def test_nothing_python_calls_special_is_ever_open(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    is_special = not address.is_global or address.is_multicast or address.is_reserved
    is_translated = address in ipaddress.ip_network("64:ff9b::/96")

    if is_special and not is_translated:
        assert why_refused(address, allow_private=False)
