"""Wrong words and wrong settings end in one sentence and code 2, never in a traceback."""

import socket
import subprocess
import sys
from importlib.metadata import version
from typing import Any, NamedTuple

import pytest

from checkstand.cli.commands import app, run


class Said(NamedTuple):
    """What a command said, run within this process."""

    code: int
    out: str
    err: str


def must_say(ended: Any, code: int, *words: str) -> None:
    """Check how a program ended and that it explained itself."""
    assert ended.code == code, ended
    assert ended.out == ""
    said = " ".join(ended.err.replace("│", " ").split())
    for word in words:
        assert word in said
    assert "Traceback" not in ended.err
    assert '"exception"' not in ended.err


def test_help_names_every_command(bare: Any) -> None:
    ended = bare.ends("--help")

    assert (ended.code, ended.err) == (0, "")
    for name in app:
        assert name in ended.out
    assert bare.ends().out == ended.out  # nothing said is a question too


def test_version_is_the_package_s(bare: Any) -> None:
    assert bare.ends("--version").out.strip() == version("checkstand")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("srve", ("srve", "serve")),
        ("serve now", ("now",)),
        ("serve --prot 80", ("--prot", "--port")),
        ("serve --port http", ("--port", "http")),
        ("serve --port 65536", ("--port", "65535")),
        ("serve --port=-1", ("--port", "0")),
        ("simulator --port 70000", ("--port", "65535")),
        ("simulator pay T1 --url http://[", ("--url", "http://127.0.0.1:8081")),
        ("demo --shop-port 70000", ("--shop-port", "65535")),
        ("keys create", ("NAME",)),
        ("keys make shop", ("make",)),
    ],
)
def test_wrong_words_are_explained(
    line: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(line.split(" "))

    must_say(Said(code, *capsys.readouterr()), 2, *words)


def test_wrong_words_end_the_program_with_code_2(bare: Any) -> None:
    must_say(bare.ends("srve"), 2, "srve", "serve")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"CHECKSTAND_DATABSE_URL": "x"},
            ("CHECKSTAND_DATABSE_URL", "did you mean CHECKSTAND_DATABASE_URL?"),
        ),
        ({"CHECKSTAND_SECRET_KEY_FILE": "/no/such"}, ("CHECKSTAND_SECRET_KEY_FILE", "No such")),
        (
            {"CHECKSTAND_TEST_KILL_AT": "after commit settle_notices:1"},
            ("CHECKSTAND_TEST_KILL_AT", "CHECKSTAND_TEST=1"),
        ),
        ({"CHECKSTAND_DATABASE_URL": "postgresql:///x"}, ("CHECKSTAND_SECRET_KEY", "openssl")),
    ],
)
def test_wrong_setting_is_named_with_its_remedy(
    bare: Any, settings: dict[str, str], words: tuple[str, ...]
) -> None:
    must_say(bare.ends("serve", "--port", "0", **settings), 2, *words)


def test_start_without_merchant_keys_says_which_and_what_else_there_is(on_postgres: Any) -> None:
    none = {"BINANCE_PAY_API_KEY": None, "BINANCE_PAY_API_SECRET": None}

    for command in (("serve", "--port", "0"), ("keys", "create", "shop")):
        ended = on_postgres.ends(*command, **none)
        must_say(ended, 2, "BINANCE_PAY_API_KEY", "BINANCE_PAY_API_SECRET", "checkstand demo")


def test_keys_of_another_merchant_are_refused_and_none_are_fine(on_postgres: Any) -> None:
    assert on_postgres.ends("keys", "create", "first").code == 0

    ended = on_postgres.ends("serve", "--port", "0", BINANCE_PAY_API_SECRET="of-another-shop")
    must_say(ended, 2, "BINANCE_PAY_API_KEY", "differ")
    assert "of-another-shop" not in ended.err
    moved = on_postgres.ends("worker", BINANCE_PAY_BASE_URL="http://127.0.0.1:10")
    must_say(moved, 2, "BASE_URL", "differ")
    none = {"BINANCE_PAY_API_KEY": None, "BINANCE_PAY_API_SECRET": None}
    assert on_postgres.ends("keys", "create", "second", **none).code == 0


def test_another_secret_key_is_refused_and_a_rotated_one_is_fine(on_postgres: Any) -> None:
    assert on_postgres.ends("keys", "create", "first").code == 0
    old, new = on_postgres.environment["CHECKSTAND_SECRET_KEY"], "n" * 32

    ended = on_postgres.ends("keys", "create", "second", CHECKSTAND_SECRET_KEY=new)

    must_say(ended, 2, "CHECKSTAND_SECRET_KEY")
    assert old not in ended.err
    assert new not in ended.err
    both = on_postgres.ends("keys", "create", "second", CHECKSTAND_SECRET_KEY=f"{new},{old}")
    assert both.code == 0


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_database_that_is_away_is_named_without_its_password(
    on_postgres: Any, command: str
) -> None:
    ended = on_postgres.ends(
        *command.split(" "),
        CHECKSTAND_DATABASE_URL="postgresql://ada:hush@127.0.0.1:9/shop",
        CHECKSTAND_PORT="0",
        CHECKSTAND_PUBLIC_URL="https://pay.example",
    )

    must_say(ended, 1, "cannot open the database")
    assert "hush" not in ended.err


def test_taken_port_names_the_setting(on_postgres: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        for command in ("serve", "demo"):
            ended = on_postgres.ends(command, "--port", port)
            must_say(ended, 1, port, "CHECKSTAND_PORT", "--port")
        must_say(on_postgres.ends("simulator", "--port", port), 1, port, "--port")


def test_migrate_may_be_repeated(on_postgres: Any) -> None:
    for _ in range(2):
        ended = on_postgres.ends("migrate")
        assert (ended.code, ended.out) == (0, "the database is at the newest schema\n")


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("cyclopts", "serve", "server"),
        ("fastapi", "serve", "server"),
        ("asyncpg", "keys create shop", "server"),
        ("starlette", "simulator --port 0", "simulator"),
    ],
)
def test_missing_extra_is_named(missing: str, command: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {command.split()!r}\n"
        "from checkstand.cli import main; main()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 2
    assert f"needs checkstand[{extra}]" in ended.stderr
    assert missing in ended.stderr
    assert "Traceback" not in ended.stderr
