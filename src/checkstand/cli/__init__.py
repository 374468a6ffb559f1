"""The door for operators: `checkstand COMMAND`. Exit codes: 0 done, 1 failed, 2 wrong usage or
settings, 3 found problems, 130 interrupted.
"""

import sys

#: What a command needs beyond the SDK, as pip would be asked for it.
_NEEDS = {"simulator": "simulator"}


def main() -> None:
    """Run one command; in a base install say what to install instead."""
    try:
        from checkstand.cli.commands import run

        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        extra = _NEEDS.get(sys.argv[1] if len(sys.argv) > 1 else "", "server")
        print(
            f"checkstand: needs checkstand[{extra}] ({error.name} is missing): "
            f'pip install "checkstand[{extra}]"',
            file=sys.stderr,
        )
        code = 2
    sys.exit(code)
