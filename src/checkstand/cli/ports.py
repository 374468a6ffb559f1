"""A port as an option: what no socket could be bound to is wrong usage, for every command."""

from typing import Annotated

from cyclopts import Parameter, validators

Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65_535))]
