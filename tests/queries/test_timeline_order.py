"""Entries come in causal order, whatever the clocks of several hosts say."""

from datetime import UTC, datetime, timedelta
from typing import Any

from checkstand.queries.timeline.causal_order import in_causal_order
from checkstand.queries.timeline.entry import Kind, TimelineEntry

NOON = datetime(2031, 1, 11, 12, tzinfo=UTC)


def _entry(summary: str, kind: Kind, seconds: float, **fields: Any) -> TimelineEntry:
    at = NOON + timedelta(seconds=seconds)
    return TimelineEntry(at=at, actor="checkstand", kind=kind, summary=summary, **fields)


def _step(version: int, seconds: float, *causes: str) -> TimelineEntry:
    return _entry(
        f"v{version}",
        Kind.TRANSITION,
        seconds,
        detail={"version": version},
        fact=f"version:{version}",
        follows=(f"version:{version - 1}", *causes),
    )


def _told(*entries: TimelineEntry) -> list[str]:
    return [entry.summary for entry in in_causal_order(entries)]


def test_facts_of_one_moment_lead_from_cause_to_consequence() -> None:
    entries = [
        _entry("event", Kind.EVENT, 0, follows=("version:2",)),
        _step(2, 0, "notice:1"),
        _entry("transfer", Kind.TRANSFER, 0, follows=("payment:1",)),
        _entry("payment", Kind.PAYMENT, 0, fact="payment:1", follows=("notice:1",)),
        _entry("check", Kind.CHECK, 0, fact="notice:1", follows=("notice:1 came",)),
        _entry("notice", Kind.NOTICE, 0, fact="notice:1 came"),
    ]

    assert _told(*entries) == ["notice", "check", "payment", "transfer", "v2", "event"]


def test_what_a_host_decided_whose_clock_is_behind_comes_after_what_it_decided_about() -> None:
    """One gateway takes a notice in; another, 90 s behind, settles it from the row."""
    entries = [
        _entry("created", Kind.ACT, 0, fact="version:1"),
        _step(2, 100),
        _entry("notice", Kind.NOTICE, 110, fact="notice:1"),
        _entry("payment", Kind.PAYMENT, 21, fact="payment:1"),
        _entry("transfer", Kind.TRANSFER, 21, follows=("payment:1",)),
        _step(3, 21, "notice:1"),
        _entry("event", Kind.EVENT, 21, follows=("version:3",)),
        _entry("call", Kind.CALL, 50),
        _entry("act", Kind.ACT, 111),
    ]

    assert _told(*reversed(entries)) == [
        "created",
        "call",
        "v2",
        "notice",
        "payment",
        "transfer",
        "v3",
        "event",
        "act",
    ]


def test_versions_order_steps_whatever_their_times_say() -> None:
    assert _told(_step(4, 5), _step(3, 9), _step(2, 7)) == ["v2", "v3", "v4"]


def test_everything_is_told_even_of_facts_that_contradict_each_other() -> None:
    entries = [
        _entry("hen", Kind.ACT, 2, fact="hen", follows=("egg",)),
        _entry("egg", Kind.ACT, 1, fact="egg", follows=("hen",)),
        _entry("farm", Kind.ACT, 0, follows=("what nobody tells",)),
    ]

    assert _told(*entries) == ["farm", "egg", "hen"]
