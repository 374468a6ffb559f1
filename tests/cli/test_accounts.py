"""`checkstand accounts`: stop one with a reason, and let it go on."""

import asyncio
from dataclasses import replace
from typing import Any

ACCOUNT = "/api/account"


async def test_account_is_stopped_and_resumed_at_the_command_line(
    run_gateway: Any, gateway_settings: Any, bare: Any
) -> None:
    settings = {
        "CHECKSTAND_DATABASE_URL": gateway_settings.database_url,
        "CHECKSTAND_SECRET_KEY": gateway_settings.secret_keys[0],
        "CHECKSTAND_LOG_LEVEL": "error",
    }
    program = replace(bare, environment=bare.environment | settings)

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(program.ends, "accounts", *arguments)

    async with run_gateway(with_worker=False) as gateway:
        listed = await run("list")
        halted = await run("halt", "Teahouse", "--reason", "staging key", "--by", "jo")
        assert (await gateway.request("GET", ACCOUNT)).json["halted_reason"] == "staging key"
        unknown = await run("resume", "Coffeehouse", "--reason", "mended")
        reference = listed.out.split()[0]
        resumed = await run("resume", reference, "--reason", "mended")
        assert (await gateway.request("GET", ACCOUNT)).json["halted_reason"] is None

    assert "moving" in listed.out
    assert "HALTED" in halted.out
    assert (unknown.code, unknown.out) == (1, "")
    assert "Teahouse" in unknown.err
    assert (resumed.code, resumed.err) == (0, "")
