"""Reconciliation over HTTP: a file goes up, differences come back, days are closed."""

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

HEADER = "Time (UTC),Prepay ID,Currency,Amount,Commission\n"
LINE = "2026-01-15 12:00:00,999,USDT,12.50,0.125\n"
FOREIGN = HEADER + LINE
BASE = "/api/reconciliation"


async def _upload(gateway: Any, content: bytes, query: str = "name=a.csv") -> Any:
    headers = {"content-type": "application/octet-stream"}
    return await gateway.request(
        "POST", f"{BASE}/reports?{query}", content=content, headers=headers
    )


@pytest.fixture
async def shop(run_gateway: Any) -> Any:
    """A gateway at rest, in February 2026 at the earliest."""
    async with run_gateway(with_worker=False) as gateway:
        gateway.simulator.control.clock.set(datetime(2031, 2, 1, tzinfo=UTC))
        yield gateway


async def test_uploaded_file_is_taken_in_once_and_its_days_are_reconciled(shop: Any) -> None:
    first = await _upload(shop, FOREIGN.encode())
    second = await _upload(shop, FOREIGN.encode(), "name=b.csv")

    assert (first.status, second.status) == (201, 200)
    assert first.json["days"] == ["2026-01-15"]
    assert first.json["open_discrepancies"] == 1
    assert (first.json["was_known"], second.json["was_known"]) == (False, True)
    assert second.json["file"]["name"] == "a.csv"
    listed = await shop.request("GET", f"{BASE}/reports")
    assert [file["lines"] for file in listed.json["data"]] == [1]
    day = await shop.request("GET", f"{BASE}/days/2026-01-15")
    assert [(t["bucket"], t["count"], t["amount"]) for t in day.json["totals"]] == [
        ("only_theirs", 1, "12.5")
    ]
    days = await shop.request("GET", f"{BASE}/days?from=2026-01-01&to=2026-01-31")
    assert [each["day"] for each in days.json["data"]] == ["2026-01-15"]


async def test_discrepancy_is_listed_and_resolved_by_a_person_with_a_reason(shop: Any) -> None:
    await _upload(shop, FOREIGN.encode())
    listed = await shop.request("GET", f"{BASE}/discrepancies?open=true&kind=not_ours")
    (found,) = listed.json["data"]
    path = f"{BASE}/discrepancies/{found['discrepancy_id']}/resolve"
    word = {"resolution": "explained", "reason": "the till's own", "by": "Ada"}

    nonsense = await shop.request("POST", path, body=word | {"resolution": "agreed"})
    resolved = await shop.request("POST", path, body=word)
    again = await shop.request("POST", path, body=word)

    assert (nonsense.status, nonsense.json["field"]) == (422, "resolution")
    assert (resolved.status, resolved.json["resolved_by"]) == (200, "Ada")
    assert (again.status, again.json["code"]) == (409, "discrepancy_resolved")
    left = await shop.request("GET", f"{BASE}/discrepancies?open=true")
    assert left.json["data"] == []


async def test_day_is_closed_once_with_a_summary_in_its_answer(shop: Any) -> None:
    await _upload(shop, FOREIGN.encode())

    closed = await shop.request("POST", f"{BASE}/days/2026-01-15/close")
    again = await shop.request("POST", f"{BASE}/days/2026-01-15/close")
    early = await shop.request("POST", f"{BASE}/days/2031-02-01/close")

    assert closed.status == 200
    document = json.loads(closed.json["document"])
    assert document["summary"]["discrepancies"] == {"not_ours": {"found": 1, "open": 1}}
    assert document["signature"]["algorithm"] == "Ed25519"
    assert again.json == closed.json
    assert (early.status, early.json["code"]) == (409, "day_not_over")


async def test_unknown_header_is_shown_and_a_stored_map_mends_it(shop: Any) -> None:
    content = FOREIGN.replace("Time (UTC)", "Moment").encode()
    columns = {"time": "Moment", "prepay_id": "Prepay ID", "currency": "Currency"}
    document = {"columns": columns | {"amount": ["Amount", "Sum"]}}

    refused = await _upload(shop, content)
    wrong = await shop.request("PUT", f"{BASE}/columns/mine", body={"columns": columns})
    stored = await shop.request("PUT", f"{BASE}/columns/mine", body=document)
    taken = await _upload(shop, content)

    assert (refused.status, refused.json["code"]) == (422, "report_header_unknown")
    assert refused.json["header"][0] == "Moment"
    assert (wrong.status, wrong.json["code"]) == (422, "column_map_invalid")
    assert stored.status == 204
    assert (taken.status, taken.json["file"]["column_map"]) == (201, "mine")
    maps = await shop.request("GET", f"{BASE}/columns")
    assert maps.json["yours"] == {"mine": document}
    assert (await shop.request("DELETE", f"{BASE}/columns/mine")).status == 204
    assert (await shop.request("DELETE", f"{BASE}/columns/mine")).status == 404


async def test_withdrawn_file_takes_its_differences_with_it(shop: Any) -> None:
    file_id = (await _upload(shop, FOREIGN.encode())).json["file"]["file_id"]

    withdrawn = await shop.request("DELETE", f"{BASE}/reports/{file_id}")
    await shop.simulator.control.advance(1)
    await shop.request("POST", f"{BASE}/days/2026-01-15/reconcile")

    assert withdrawn.status == 204
    assert (await shop.request("DELETE", f"{BASE}/reports/{file_id}")).status == 404
    left = await shop.request("GET", f"{BASE}/discrepancies?open=true")
    assert left.json["data"] == []


async def test_upload_that_is_hostile_is_refused_in_a_sentence(shop: Any, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (64 * 1024 * 1024))

    for content in (bomb.read_bytes(), b"", b"\0" * 1000, b"<html>", b"PK\x03\x04"):
        answer = await _upload(shop, content)
        assert (answer.status, answer.json["code"]) == (422, "report_unreadable")
    large = await _upload(shop, b"a" * (64 * 1024 * 1024 + 1))
    assert (large.status, large.json["code"]) == (413, "report_too_large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/days"),
        ("POST", "/reports"),
        ("POST", "/days/2026-01-15/close"),
        ("GET", "/discrepancies"),
    ],
)
async def test_nobody_without_a_key_gets_in(shop: Any, method: str, path: str) -> None:
    answer = await shop.request(method, BASE + path, authorized=False)

    assert (answer.status, answer.json["code"]) == (401, "api_key_missing")


@pytest.mark.parametrize(
    "query", ["covers_from=2026-01-01", "covers_from=2026-01-02&covers_to=2026-01-01", "colour=1"]
)
async def test_what_is_said_beside_a_file_must_make_sense(shop: Any, query: str) -> None:
    answer = await _upload(shop, FOREIGN.encode(), query)

    assert (answer.status, answer.json["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("day", ["9999-12-31", "9999-12-30", "2101-01-01", "2017-12-31", "today"])
@pytest.mark.parametrize("act", ["reconcile", "close"])
async def test_day_far_off_is_neither_reconciled_nor_closed(shop: Any, day: str, act: str) -> None:
    answer = await shop.request("POST", f"{BASE}/days/{day}/{act}")

    assert (answer.status, answer.json["code"]) == (404, "day_not_found")
    assert answer.json["field"] == "day"
    assert day in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=2031-01-02&to=2031-01-01", "from 2031-01-02 comes after to 2031-01-01"),
        ("from=2031-02-02", "from 2031-02-02 comes after to 2031-02-01, which is today"),
    ],
)
async def test_days_the_wrong_way_round_are_refused(shop: Any, query: str, words: str) -> None:
    answer = await shop.request("GET", f"{BASE}/days?{query}")

    assert (answer.status, answer.json["code"]) == (422, "invalid_request")
    assert answer.json["field"] == "from"
    assert words in answer.json["detail"]


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "0001-01-01", "2026-01-15"])
async def test_day_that_is_none_or_never_was_reconciled_is_not_found(shop: Any, day: str) -> None:
    answer = await shop.request("GET", f"{BASE}/days/{day}")

    assert (answer.status, answer.json["code"]) == (404, "day_not_found")
