"""The API's own description is complete, and the answers are what it says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREATE = "/api/payments/binance/create"
PROBLEM = "application/problem+json"


async def read_document(door: Any) -> dict[str, Any]:
    """Fetch it as a client would, without a key."""
    answer = await door.send("GET", "/api/openapi.json", authorization="")
    assert answer.status == 200
    document: dict[str, Any] = answer.json
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Go through every operation, with its name for messages."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


async def test_document_is_openapi_that_refers_to_nothing_missing(door: Any) -> None:
    document = await read_document(door)

    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "summary", "version"}
    schemas = document["components"]["schemas"]

    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    wanted = set(references(document))
    assert wanted == {f"#/components/schemas/{name}" for name in schemas}


async def test_every_operation_says_what_it_does_who_may_and_what_can_go_wrong(door: Any) -> None:
    document = await read_document(door)
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names)) >= 13

    for name, operation in operations(document):
        assert operation["operationId"].isidentifier(), name
        assert operation["summary"], name
        assert operation["description"].endswith("."), name
        assert operation["tags"], name
        assert operation["security"] == [{"HTTPBearer": []}], name
        responses = operation["responses"]
        assert {"401", "403", "422", "503"} <= responses.keys(), name
        for status, response in responses.items():
            assert response["description"], (name, status)
            if int(status) >= 400:
                schema = response["content"][PROBLEM]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (name, status)
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert {"400", "413", "415"} <= responses.keys(), name
        if "{" in name and not name.startswith("PUT "):  # which makes what it names
            assert "404" in responses, name
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


async def test_every_model_is_described_and_forbids_what_it_does_not_know(door: Any) -> None:
    schemas = (await read_document(door))["components"]["schemas"]

    for name, schema in schemas.items():
        assert schema["description"], name
    for name in ("NewOrder", "GoodsLine", "NewEndpoint"):
        assert schemas[name]["additionalProperties"] is False
    assert "HTTPValidationError" not in schemas
    for field in ("amount", "fiat_amount"):
        kinds = {kind["type"] for kind in schemas["NewOrder"]["properties"][field]["anyOf"]}
        assert kinds == {"string", "null"}  # never a number


async def test_create_lists_its_idempotency_key(door: Any) -> None:
    document = await read_document(door)
    parameters = document["paths"][CREATE]["post"]["parameters"]

    (key,) = (each for each in parameters if each["name"] == "Idempotency-Key")

    assert (key["in"], key["required"]) == ("header", True)
    assert "30 days" in key["description"]


async def test_answers_hold_what_the_document_says_no_more_and_no_less(door: Any) -> None:
    schemas = (await read_document(door))["components"]["schemas"]

    def fits(value: Any, name: str) -> None:
        schema = schemas[name]
        assert set(value) == set(schema["properties"]), name
        for field, rule in schema["properties"].items():
            inner = rule.get("items", {}).get("$ref", "").rpartition("/")[2]
            if inner in schemas:
                for each in value[field]:
                    fits(each, inner)

    endpoint = await door.send(
        "POST", "/api/webhook-endpoints", b'{"url": "https://shop.example/hook"}'
    )
    fits(endpoint.json, "NewEndpointView")
    order = {"merchant_order_id": "shop-1", "amount": "12.50", "currency": "USDT"}
    created = await door.send("POST", CREATE, json.dumps(order).encode())
    fits(created.json, "OrderView")
    orders = "/api/payments/binance/orders"
    fits((await door.send("GET", orders)).json, "OrderList")
    fits((await door.send("GET", f"{orders}/{created.json['order_id']}")).json, "OrderView")
    fits((await door.send("GET", f"{orders}/{created.json['order_id']}/timeline")).json, "Timeline")
    fits((await door.send("GET", "/api/events")).json, "EventList")
    fits((await door.send("GET", "/api/webhook-endpoints")).json, "EndpointList")
    fits((await door.send("GET", "/api/ledger/balances")).json, "BalanceList")
    fits((await door.send("GET", "/api/ledger/transfers")).json, "TransferList")
    fits((await door.send("GET", "/api/ledger/unknown-fees")).json, "UnknownFeeList")
