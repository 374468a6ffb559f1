"""The response beside the result, and calls this SDK does not model."""

import json
from decimal import Decimal
from typing import Any

import pytest

from checkstand.binance import Effect, NotFound, RawResponse, ServerFailed, UnreadableAnswer


async def test_a_raw_view_gives_the_response_beside_the_result(counter: Any, server: Any) -> None:
    server.succeed(True, headers={"X-Trace": "7"})
    client = counter.client()

    raw = await counter.call(lambda: client.orders.with_raw_response.close(prepay_id="1"))

    assert isinstance(raw, RawResponse)
    assert raw.result is True
    assert raw.response.status == 200
    assert raw.response.headers["x-trace"] == "7"
    assert json.loads(raw.response.body)["code"] == "000000"
    assert raw.response.request_nonce == server.received[0].headers["binancepay-nonce"]


async def test_a_raw_view_raises_as_the_call_does(counter: Any, server: Any) -> None:
    server.refuse("400202")
    client = counter.client()

    with pytest.raises(NotFound):
        await counter.call(lambda: client.orders.with_raw_response.query(prepay_id="1"))


async def test_a_response_does_not_show_its_body(counter: Any, server: Any) -> None:
    server.succeed([{"certPublic": "a key", "certSerial": "S"}])
    client = counter.client()

    raw = await counter.call(client.certificates.with_raw_response.list)

    assert [certificate.serial for certificate in raw.result] == ["S"]
    assert "a key" not in repr(raw.response)


@pytest.mark.parametrize("prefix", ["", "/binancepay/openapi"])
async def test_an_unmodelled_call_is_signed_and_keeps_its_digits(
    counter: Any, server: Any, prefix: str
) -> None:
    server.answer(
        b'{"status":"SUCCESS","code":"000000","data":{"id":29383937493038367292,"x":1.10}}'
    )
    client = counter.client()

    raw = await counter.call(
        lambda: client.raw_request(
            f"{prefix}/direct-debit/contract", {"singleUpperLimit": Decimal("50.00")}
        )
    )

    (received,) = server.received
    assert received.path == "/binancepay/openapi/direct-debit/contract"
    assert received.body == b'{"singleUpperLimit":50.00}'
    assert received.headers["binancepay-signature"]
    assert raw.result == {"id": 29383937493038367292, "x": Decimal("1.10")}
    assert str(raw.result["x"]) == "1.10"


async def test_an_unmodelled_call_may_answer_nothing_or_bare(counter: Any, server: Any) -> None:
    server.answer({"status": "SUCCESS", "code": "000000"})
    server.answer({"exist": True})
    client = counter.client()

    nothing = await counter.call(lambda: client.raw_request("/a/b"))
    bare = await counter.call(lambda: client.raw_request("/a/b", {}))

    assert nothing.result is None
    assert bare.result == {"exist": True}
    assert [received.body for received in server.received] == [b"{}", b"{}"]


async def test_an_unmodelled_call_is_repeated_only_when_that_is_said_to_be_harmless(
    counter: Any, server: Any
) -> None:
    client = counter.client()
    server.answer(b"down", status=503)
    with pytest.raises(ServerFailed) as caught:
        await counter.call(lambda: client.raw_request("/a"))
    server.answer(b"down", status=503)
    server.succeed(1)
    answered = await counter.call(lambda: client.raw_request("/a", effect=Effect.NONE))

    assert caught.value.outcome_unknown
    assert answered.result == 1
    assert len(server.received) == 3


async def test_an_unmodelled_page_is_no_answer(counter: Any, server: Any) -> None:
    server.answer(b"<html>", status=200)
    client = counter.client()

    with pytest.raises(UnreadableAnswer):
        await counter.call(lambda: client.raw_request("/a"))


@pytest.mark.parametrize("path", ["", "a", "/", "//a", "/a?b=1", "/a b", "https://other.example/a"])
async def test_what_is_no_path_is_refused(counter: Any, path: str) -> None:
    client = counter.client()

    with pytest.raises(ValueError, match="path"):
        await counter.call(lambda: client.raw_request(path))


async def test_a_float_in_an_unmodelled_call_is_refused(counter: Any) -> None:
    client = counter.client()

    with pytest.raises(TypeError):
        await counter.call(lambda: client.raw_request("/a", {"amount": 0.1}))
