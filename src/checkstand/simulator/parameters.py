"""How request bodies are described and read.

A specification is a mapping of names to fields; reading it checks presence, type, length and
characters in the documented codes' words and returns plain values. Unknown fields are ignored,
as JSON services do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from checkstand.simulator.amounts import read_amount
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.settings import Settings

#: Quotes, backslashes, surrogates and everything beyond the basic plane (emoji, roughly).
_UNWELCOME = re.compile('[\\\\"\ud800-\udfff\u2600-\u27bf\U00010000-\U0010ffff]')
_DIGITS = re.compile("[0-9]{1,128}", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")  # half a character: UTF-8 cannot carry it


class FieldType(Protocol):
    """Reads one value or refuses it."""

    def read(self, value: Any, *, name: str, settings: Settings) -> Any:
        """Return the value, checked; raise `Rejection` naming the field."""
        ...


@dataclass(frozen=True, slots=True)
class Field:
    """One name in a specification."""

    type: FieldType
    required: bool = False


Spec = Mapping[str, Field]


def required(field_type: FieldType) -> Field:
    """Return a field that must be sent."""
    return Field(field_type, required=True)


def optional(*names: str) -> dict[str, Field]:
    """Return fields of plain text that may be left out."""
    return {name: Field(Text()) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string. The `recollected_` limits count only where the settings say so."""

    length_max: int | None = None
    pattern: re.Pattern[str] | None = None
    pattern_code: str = "400103"
    choices: frozenset[str] | None = None
    plain: bool = False  # no quotes, backslashes or emoji
    recollected_length_max: int | None = None
    recollected_plain: bool = False

    def read(self, value: Any, *, name: str, settings: Settings) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise Rejection("400100", name)
        if self.pattern and not self.pattern.fullmatch(value):
            raise Rejection(self.pattern_code, name)
        strict = settings.enforces_recollected_limits
        for limit in (self.length_max, self.recollected_length_max if strict else None):
            if limit is not None and len(value) > limit:
                raise Rejection("400101", name)
        unwelcome = _UNWELCOME if self.plain or (strict and self.recollected_plain) else _SURROGATES
        if unwelcome.search(value):
            raise Rejection("400103", name)
        if self.choices is not None and value not in self.choices:
            raise Rejection("400102", name)
        return value


@dataclass(frozen=True, slots=True)
class Amount:
    """A decimal of at most eight places."""

    def read(self, value: Any, *, name: str, settings: Settings) -> Any:
        """Return the amount as a Decimal."""
        return read_amount(value, name=name, accepts_text=settings.accepts_text_amounts)


@dataclass(frozen=True, slots=True)
class TextAmount:
    """A decimal that is documented as text."""

    def read(self, value: Any, *, name: str, settings: Settings) -> Any:  # noqa: ARG002
        """Return the amount as a Decimal."""
        if not isinstance(value, str):
            raise Rejection("400100", name)
        return read_amount(value, name=name, accepts_text=True)


@dataclass(frozen=True, slots=True)
class Identifier:
    """Digits, as text or as a number."""

    def read(self, value: Any, *, name: str, settings: Settings) -> str:  # noqa: ARG002
        """Return the digits as text."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise Rejection("400100", name)
        if not _DIGITS.fullmatch(str(value)):
            raise Rejection("400101", name)
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """One string or a list of them."""

    choices: frozenset[str] | None = None

    def read(self, value: Any, *, name: str, settings: Settings) -> tuple[str, ...]:
        """Return them all."""
        given = value if isinstance(value, list) else [value]
        one = Text(choices=self.choices)
        return tuple(one.read(each, name=name, settings=settings) for each in given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A 64-bit integer, such as milliseconds."""

    choices: frozenset[int] | None = None

    def read(self, value: Any, *, name: str, settings: Settings) -> int:  # noqa: ARG002
        """Return the integer."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise Rejection("400100", name)
        if not -(2**63) <= value < 2**63 or (self.choices and value not in self.choices):
            raise Rejection("400102", name)
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, value: Any, *, name: str, settings: Settings) -> bool:  # noqa: ARG002
        """Return the flag."""
        if not isinstance(value, bool):
            raise Rejection("400100", name)
        return value


@dataclass(frozen=True, slots=True)
class Nested:
    """An object with fields of its own."""

    spec: Spec
    type_code: str = "400100"  # what it is called when it is no object

    def read(self, value: Any, *, name: str, settings: Settings) -> Any:
        """Return the object as a dictionary."""
        if not isinstance(value, dict):
            raise Rejection(self.type_code, name)
        return read_parameters(self.spec, value, settings=settings, prefix=f"{name}.")


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of objects, not empty."""

    of: Nested

    def read(self, value: Any, *, name: str, settings: Settings) -> Any:
        """Return the list."""
        if not isinstance(value, list) or not value:
            raise Rejection("400100", name)
        return [
            self.of.read(item, name=f"{name}[{place}]", settings=settings)
            for place, item in enumerate(value)
        ]


def read_parameters(
    spec: Spec,
    given: Mapping[str, Any],
    *,
    settings: Settings,
    prefix: str = "",
    accepts_null: bool = False,
) -> dict[str, Any]:
    """Return the fields that were sent, checked; raise `Rejection` for the first that is wrong."""
    rejects_null = settings.rejects_null and not accepts_null
    read: dict[str, Any] = {}
    for key, field in spec.items():
        value = given.get(key)
        name = prefix + key
        # Empty text counts as not sent: documented samples carry `"returnUrl":""`.
        if value is None or value == "":
            if field.required or (value is None and key in given and rejects_null):
                raise Rejection("400100", name)
            continue
        read[key] = field.type.read(value, name=name, settings=settings)
    return read
