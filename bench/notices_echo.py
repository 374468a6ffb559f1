"""A bare ASGI app that says back what it is told, served as the gateway is: the cost of HTTP.

    python bench/notices_echo.py

Prints its address and serves until it is killed.
"""
# ruff: noqa: T201

import asyncio
import socket
from typing import Any

import uvicorn
import uvloop


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with its own body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve on a free port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    listener.setblocking(False)  # noqa: FBT003  (the standard library's signature)
    config = uvicorn.Config(
        echo, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
