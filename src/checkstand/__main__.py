"""`python -m checkstand`, the same as the `checkstand` command."""

from checkstand.cli import main

main()
