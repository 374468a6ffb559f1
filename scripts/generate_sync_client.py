"""Write the synchronous twin of every asynchronous module of the SDK.

    python scripts/generate_sync_client.py          write what differs
    python scripts/generate_sync_client.py --check  write nothing; exit 1 where something differs

The async source is written so that a few word-for-word replacements make the twin; what they do
not cover is not generated but written twice (`http_transport.py`).
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOM = ROOT / "src" / "checkstand" / "binance"
RUFF = [sys.executable, "-m", "ruff"]

MODULES = (
    "caller",
    "raw",
    "orders",
    "refunds",
    "balances",
    "transfers",
    "payouts",
    "reports",
    "sub_merchants",
    "certificates",
    "webhooks",
    "client",
    "doors.replays",
    "doors.receiving",
)

REPLACEMENTS = [
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\bAwaitable\[(\w+|\w+\[\w+\])\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baclose\b", "close"),
    (r"\basyncio\b", "threading"),
    (
        rf"\bcheckstand\.binance\.({'|'.join(map(re.escape, MODULES))})\b",
        r"checkstand.binance.\1_sync",
    ),
]


def main() -> int:
    """Generate or check; return the exit code."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(__doc__, file=sys.stderr)
        return 2
    stale = [module for module in MODULES if not refresh(module, write=not check)]
    for module in stale:
        print(f"{'differs' if check else 'written'}: {twin_of(module).relative_to(ROOT)}")
    return 1 if check and stale else 0


def refresh(module: str, *, write: bool) -> bool:
    """Say whether the twin was up to date; write it if it was not and that is wanted."""
    path, text = twin_of(module), generate(module)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return True
    if write:
        path.write_text(text, encoding="utf-8")
    return False


def twin_of(module: str) -> Path:
    """Return where the twin lives."""
    return _path_of(f"{module}_sync")


def _path_of(module: str) -> Path:
    return ROOM / f"{module.replace('.', '/')}.py"


def generate(module: str) -> str:
    """Return the twin's text, imports sorted and formatted as the house does."""
    source = _path_of(module)
    text = source.read_text(encoding="utf-8")
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    text = (
        f"# Generated from {source.name} by scripts/{Path(__file__).name}: change that file and run"
        f" this.\n{text}"
    )
    name = str(twin_of(module))
    text = _piped("check", "--select", "I", "--fix", "--quiet", "--stdin-filename", name, text=text)
    return _piped("format", "--quiet", "--stdin-filename", name, text=text)


def _piped(*arguments: str, text: str) -> str:
    done = subprocess.run(
        [*RUFF, *arguments, "-"], input=text, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise SystemExit(f"ruff {arguments[0]} failed:\n{done.stderr}{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
