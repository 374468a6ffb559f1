"""What a signed HTTPS call costs in CPU: the SDK against Binance's own connector, in one run.

    python bench/sdk.py [--calls N] [--rounds N]

A local TLS server answers at once (HTTP/1.1, kept-alive connections). Each client runs in a
process of its own; rounds go around all of them, and the middle round counts, so that a busy
machine hits all alike. Read the ratios, not the microseconds. Needs the development dependencies;
a transport that is not installed is left out of the table.
"""
# ruff: noqa: T201

import argparse
import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HERE = Path(__file__).parent
AIM = 0.6  # of the connector's CPU per call, with the default install
IMPORT_AIM = 3.0  # times `import msgspec`
#: What to measure, what it needs, and how the table calls it.
CLIENTS = {
    "connector": ("binance.pay", "official connector (requests)"),
    "sync": ("checkstand.binance", "SDK, sync, default"),
    "async": ("checkstand.binance", "SDK, async, default"),
    "sync urllib3": ("urllib3", "SDK, sync, over urllib3"),
    "sync pyreqwest": ("pyreqwest", "SDK, sync, over pyreqwest"),
    "async aiohttp": ("aiohttp", "SDK, async, over aiohttp"),
    "async pyreqwest": ("pyreqwest", "SDK, async, over pyreqwest"),
}
AIMED_AT = ("sync", "async")


def main(arguments: list[str]) -> int:
    """Measure and print; exit code 1 where an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=1500, help="per client and round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)

    present = [name for name, (needs, _) in CLIENTS.items() if _is_installed(needs)]
    if "connector" not in present:
        print("binance-pay-connector is not installed: there is nothing to compare with")
        return 1
    with tempfile.TemporaryDirectory() as directory, tls_server(Path(directory)) as server:
        costs = {
            call: measure(present, call, *server, calls=options.calls, rounds=options.rounds)
            for call in ("query", "create")
        }
    missed = print_calls(costs) + print_import(import_ratio(rounds=3 * options.rounds))
    for line in missed:
        print(line)
    return 1 if missed else 0


def measure(
    clients: list[str], call: str, address: str, certificate: str, *, calls: int, rounds: int
) -> dict[str, float]:
    """Return each client's microseconds of CPU per call: the middle of its rounds."""
    seen: dict[str, list[float]] = {client: [] for client in clients}
    for _ in range(rounds):
        for client in clients:
            told = _run(
                HERE / "sdk_caller.py",
                client,
                call,
                address,
                certificate,
                str(calls),
                certificate=certificate,
            )
            seen[client].append(float(told))
    return {client: statistics.median(values) for client, values in seen.items()}


def import_ratio(*, rounds: int) -> tuple[float, float]:
    """Return the milliseconds of CPU that importing msgspec and the SDK take: the best of many."""
    best = {}
    for module in ("msgspec", "checkstand.binance"):
        program = (
            f"import time; b = time.process_time(); import {module};"
            " print((time.process_time() - b) * 1e3)"
        )
        best[module] = min(float(_run("-c", program)) for _ in range(rounds))
    return best["msgspec"], best["checkstand.binance"]


def print_calls(costs: dict[str, dict[str, float]]) -> list[str]:
    """Print the table of calls; return what falls short."""
    print(f"{'CPU per signed HTTPS call':34}{'query':>16}{'create':>18}")
    missed = []
    for client in costs["query"]:
        cells = ""
        for call, width in (("query", 8), ("create", 10)):
            cost, ratio = costs[call][client], costs[call][client] / costs[call]["connector"]
            cells += f"{cost:{width}.0f} µs{ratio:6.2f}"
            if client in AIMED_AT and ratio > AIM:
                missed.append(f"missed: {client} {call} is {ratio:.2f}, aimed at {AIM}")
        print(f"{CLIENTS[client][1]:34}{cells}")
    return missed


def print_import(costs: tuple[float, float]) -> list[str]:
    """Print the import measure; return what falls short."""
    msgspec, ours = costs
    ratio = ours / msgspec
    print(
        f"\nimport checkstand.binance {ours:.1f} ms, import msgspec {msgspec:.1f} ms: {ratio:.2f}"
    )
    return [] if ratio <= IMPORT_AIM else [f"missed: import is {ratio:.2f}, aimed at {IMPORT_AIM}"]


@contextlib.contextmanager
def tls_server(directory: Path) -> Iterator[tuple[str, str]]:
    """Run the server with a certificate made for this run; give its address and certificate."""
    file = directory / "loopback.pem"
    file.write_bytes(own_certificate())
    with subprocess.Popen(  # noqa: S603
        [sys.executable, str(HERE / "tls_server.py"), str(file)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = int(server.stdout.readline()) if server.stdout else 0
            yield f"https://127.0.0.1:{port}", str(file)
        finally:
            server.kill()


def own_certificate() -> bytes:
    """Make a certificate for 127.0.0.1: its key, itself, and the authority that signed it."""
    authority, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    name, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        for text in ("loopback", "authority of this run")
    )
    now = datetime.now(UTC)  # noqa: TID251

    def begun(subject: x509.Name, public_key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True
            )
        )

    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = begun(name, key.public_key()).add_extension(addresses, critical=False)
    signed = [
        leaf.sign(authority, SHA256()),
        begun(issuer, authority.public_key()).sign(authority, SHA256()),
    ]
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + b"".join(each.public_bytes(Encoding.PEM) for each in signed)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _run(*arguments: str | Path, certificate: str = "") -> str:
    # `requests` prefers this variable to what its session is told.
    environment = os.environ | {"REQUESTS_CA_BUNDLE": certificate}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[1:3]} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
