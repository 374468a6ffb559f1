"""`checkstand reconcile` as an operator meets it: exit codes, what is printed, what is refused."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from checkstand.cli.commands import run

HEADER = "Time (UTC),Prepay ID,Currency,Amount\n"
FOREIGN = HEADER + "2026-01-15 12:00:00,999,USDT,12.50\n"


def _write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_discrepancy_found_is_exit_code_three_and_settled_is_zero(
    on_postgres: Any, tmp_path: Path
) -> None:
    file = _write(tmp_path, "a.csv", FOREIGN)

    found = on_postgres.ends("reconcile", "--file", file)
    assert (found.code, found.err) == (3, "")
    assert "2026-01-15  payments  only_theirs          1  12.5 USDT" in found.out
    assert "open:         1 not_ours" in found.out
    discrepancy_id = found.out.splitlines()[-1].split()[0]

    said = on_postgres.ends("reconcile", "resolve", discrepancy_id, "--reason", "the till's")
    assert (said.code, said.err) == (0, "")
    again = on_postgres.ends("reconcile", "--from", "2026-01-15", "--file", file)
    assert again.code == 0


def test_run_that_was_killed_between_two_parts_is_gone_on_with(
    on_postgres: Any, tmp_path: Path
) -> None:
    lines = "".join(f"2026-01-15 12:00:00,{n},USDT,1.50\n" for n in range(12_000))
    file = _write(tmp_path, "a.csv", HEADER + lines)
    kill = {"CHECKSTAND_TEST": "1", "CHECKSTAND_TEST_KILL_AT": "before commit take_in_report:2"}

    killed = on_postgres.ends("reconcile", "--file", file, **kill)
    half = on_postgres.ends("reconcile", "files")
    ended = on_postgres.ends("reconcile", "--file", file)

    assert killed.code == -signal.SIGKILL
    assert "10000 of 12000" in half.out
    assert ended.code == 3
    assert "only_theirs      12000  18000 USDT" in ended.out
    assert "12000 of 12000" in on_postgres.ends("reconcile", "files").out


def test_closed_day_s_summary_is_verified_until_somebody_changes_it(
    on_postgres: Any, tmp_path: Path
) -> None:
    listed = _write(tmp_path, "listed.csv", FOREIGN)
    assert on_postgres.ends("reconcile", "--file", listed).code == 3
    closed = on_postgres.ends("reconcile", "close", "2026-01-15", "--by", "Ada")
    assert (closed.code, closed.err) == (0, "")
    file = _write(tmp_path, "day.json", closed.out)
    changed = _write(tmp_path, "changed.json", closed.out.replace("Ada", "Eve"))

    genuine = on_postgres.ends("reconcile", "verify", file)
    forged = on_postgres.ends("reconcile", "verify", changed)

    assert genuine.code == 0
    assert genuine.out.startswith("genuine: 2026-01-15, closed ")
    assert genuine.out.rstrip().endswith("by Ada")
    assert forged.code == 3
    assert "not as it was signed" in forged.err


def test_unknown_header_is_shown_and_a_map_mends_it(on_postgres: Any, tmp_path: Path) -> None:
    file = _write(tmp_path, "a.csv", FOREIGN.replace("Prepay ID", "Order of theirs"))
    columns = {"time": "Time (UTC)", "prepay_id": "Order of theirs", "currency": "Currency"}
    document = json.dumps({"columns": columns | {"amount": "Amount"}})

    refused = on_postgres.ends("reconcile", "--file", file)
    stored = on_postgres.ends(
        "reconcile", "columns", "set", "mine", _write(tmp_path, "map.json", document)
    )
    taken = on_postgres.ends("reconcile", "--file", file)

    assert refused.code == 2
    assert "Time (UTC) | Order of theirs | Currency | Amount" in refused.err
    assert (stored.code, taken.code) == (0, 3)
    listed = json.loads(on_postgres.ends("reconcile", "columns", "list").out)
    assert listed["yours"] == {"mine": json.loads(document)}


def test_binance_that_gives_no_files_is_said_and_no_failure(on_postgres: Any) -> None:
    ended = on_postgres.ends("reconcile", "--from", "2026-01-15")

    assert ended.code == 0
    assert "Binance gave no report files" in ended.err
    assert "nothing on either side" in ended.out


def test_files_that_list_nothing_are_said_to(on_postgres: Any, tmp_path: Path) -> None:
    file = _write(tmp_path, "a.csv", HEADER)

    for more in ((), ("--fetch",)):
        ended = on_postgres.ends("reconcile", "--file", file, *more)
        assert (ended.code, ended.out) == (0, "")
        assert "say with --from and --to which days they are of" in ended.err


WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", "say --from and --to, or give a --file"),
    "no day": ("--from yesterday", "--from: 'yesterday' is no day; write it like 2026-01-31"),
    "no last day": ("--from 2026-01-15 --to 2026-1-16", "--to: '2026-1-16' is no day"),
    "backwards": (
        "--from 2026-01-16 --to 2026-01-15",
        "--to 2026-01-15 comes before --from 2026-01-16",
    ),
    "to alone": ("--file FILE --to 2026-01-31", "--to needs --from"),
    "complete alone": ("--file FILE --complete", "--complete needs --from and --to"),
    "complete without files": ("--from 2026-01-15 --complete", "give the --file"),
    "late": ("--from 9999-12-31", "--from: 9999-12-31 is not between 2018-01-01 and 2100-12-31"),
    "early": ("--from 0001-01-01", "--from: 0001-01-01 is not between"),
    "late end": ("--from 2026-01-15 --to 9999-12-30", "--to: 9999-12-30 is not between"),
    "close late": ("close 9999-12-31", "DAY: 9999-12-31 is not between"),
    "close no day": ("close tomorrow", "DAY: 'tomorrow' is no day"),
    "no summary": ("verify none.json", "none.json cannot be read: No such file"),
    "no map": ("columns set mine none.json", "none.json cannot be read: No such file"),
    "kind": ("list --kind nonsense", "--kind: there is no kind 'nonsense'; there are amount, "),
    "limit": ("list --limit -1", "--limit: -1 is not between 1 and 1000000"),
    "large limit": (f"list --limit {10**30}", "--limit: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_exit_code_two_and_names_what_to_mend(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line, words = WRONG[case]
    file = _write(tmp_path, "a.csv", FOREIGN)

    code = run(["reconcile", *line.replace("FILE", file).split()])

    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("checkstand: ")
    assert words in said.err
    assert "Errno" not in said.err


def test_file_that_is_not_there_is_named(on_postgres: Any) -> None:
    ended = on_postgres.ends("reconcile", "--file", "none.csv")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "checkstand: none.csv cannot be read: No such file or directory\n"


def test_several_days_are_closed_in_order_and_those_that_cannot_be_say_why(
    on_postgres: Any, tmp_path: Path
) -> None:
    on_postgres.ends("reconcile", "--file", _write(tmp_path, "a.csv", FOREIGN))
    one = on_postgres.ends("reconcile", "close", "2026-01-16")

    closed = on_postgres.ends("reconcile", "close", "--from", "2026-01-15", "--to", "2026-01-17")

    assert (closed.code, closed.err) == (0, "")
    lines = closed.out.splitlines()
    days = [json.loads(line)["summary"]["day"] for line in lines]
    assert days == ["2026-01-15", "2026-01-16", "2026-01-17"]
    assert lines[1] == one.out.strip()
    verified = on_postgres.ends("ledger", "verify")
    assert verified.out.endswith("and 3 closed days checked\n")
    for arguments, words in (
        (("2019-01-31",), "the first day that can be closed is 2026-01-15"),
        (("--from", "2026-01-14", "--to", "2026-01-18"), "2026-01-14 is before"),
        (("2026-01-15", "--from", "2026-01-15"), "say one day, or --from and --to"),
        ((), "say one day, or --from and --to"),
        (("--to", "2026-01-15"), "say one day, or --from and --to"),
        (("--from", "2026-01-15", "--to", "2026-01-14"), "--to 2026-01-14 comes before"),
    ):
        refused = on_postgres.ends("reconcile", "close", *arguments)
        assert refused.code == 2, refused
        assert words in refused.err, refused
        assert refused.out == ""
