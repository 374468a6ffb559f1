"""The documents name everything there is, and nothing in them is made up."""

import re
from pathlib import Path

from fastapi.routing import APIRoute

from checkstand.cli.commands import app as cli
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.event import EventType
from checkstand.domain.order import OrderStatus
from checkstand.operations.manage_keys import SCOPES
from checkstand.queries.timeline import Kind
from checkstand.settings import SETTINGS
from checkstand.web.api import (
    account,
    anomalies,
    endpoints,
    events,
    fulfilment,
    ledger,
    orders,
    reconciliation,
    refunds,
)

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "checkstand"
#: What shops and operators meet; the SDK, the simulator and the demo speak for themselves.
ROOMS = ("deliveries", "domain", "operations", "provider", "storage", "web")
_CODE = re.compile(
    r"(?:Refused|Conflict|NotFound|ProviderUnavailable|AccountHalted|SettingsError|CannotListen"
    r'|MigrationError|DatabaseUnavailable|DatabaseBusy|DeliveryFailed|Obstacle|BackupFailed)\(\s*"([a-z_]+)"|problem\(\s*\d+,\s*"([a-z_]+)"'
    r'|code(?:: str)? ?= ?"([a-z_]+)"'
)


def _read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_settings_are_documented() -> None:
    text = _read("docs/settings.md")

    assert set(re.findall(r"^\| `([A-Z_]+)`", text, re.MULTILINE)) == set(SETTINGS)
    for name, words in SETTINGS.items():
        assert f"| `{name}` | {words} |" in text


def test_commands_are_documented() -> None:
    text = _read("CHANGELOG.md") + _read("README.md") + _read("docs/api.md")

    for name in cli:
        if not name.startswith("-"):
            assert re.search(rf"`?{name}\b", text), name


def test_routes_scopes_states_and_events_are_documented() -> None:
    text = _read("docs/api.md")

    rooms = (
        orders,
        refunds,
        fulfilment,
        anomalies,
        endpoints,
        events,
        ledger,
        reconciliation,
        account,
    )
    for room in rooms:
        router = room.router
        for route in router.routes:
            assert isinstance(route, APIRoute)
            tail = route.path.removeprefix("/api/payments/binance").removeprefix("/api")
            last = tail.split("/")[-1] or tail
            assert last in text, route.path
    for word in (*SCOPES, *OrderStatus, *EventType):
        assert f"`{word}`" in text or str(word) in text, word
    assert set(re.findall(r"`((?:order|refund|reconciliation)\.[a-z]+)`", text)) == set(EventType)


def test_every_kind_of_timeline_entry_is_documented_once() -> None:
    section = _read("docs/api.md").partition("## Timeline")[2].partition("\n## ")[0]

    assert sorted(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)) == sorted(Kind)


def test_error_codes_are_documented_and_none_is_made_up() -> None:
    documented = set(re.findall(r"`([a-z_]+)`", _read("docs/errors.md")))
    files = [path for room in ROOMS for path in (SOURCE / room).rglob("*.py")]
    files += [SOURCE / name for name in ("app.py", "settings.py", "vault.py")]
    raised = {
        code
        for path in files
        for codes in _CODE.findall(path.read_text("utf-8"))
        for code in codes
        if code
    }
    raised |= set(re.findall(r'\d+: "([a-z_]+)"', (SOURCE / "web/problems.py").read_text("utf-8")))

    not_codes = {"status", "code", "detail", "field", "errors", "order_id", "merchant_order_id"}
    not_codes |= {"limit", "payment_id", "refund_id", "merchant_refund_id"}
    assert raised - documented == set()
    assert documented - raised - not_codes - {"provider_rejected"} == set()


def test_every_anomaly_is_a_word_that_the_shop_may_meet() -> None:
    assert all(re.fullmatch("[a-z_]+", kind) for kind in AnomalyKind)


def test_glossary_names_no_word_twice() -> None:
    words = re.findall(r"^\| ([a-z ]+) \|", _read("docs/glossary.md"), re.MULTILINE)

    assert len(words) == len(set(words)) > 15


def test_readme_and_architecture_stay_one_page() -> None:
    for name in ("README.md", "ARCHITECTURE.md"):
        assert len(_read(name).splitlines()) <= 90, name
