"""The seam through which every visible word passes: a language, a direction, a translation.

English is the source and the only one so far. Another language is another `Wording` over a
gettext catalogue; templates and the script's few strings all come through it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How the page speaks. `translate` gets the English sentence, with its `{names}` in place."""

    language: str
    direction: Literal["ltr", "rtl"]
    translate: Callable[[str], str]

    def __call__(self, message: str, /, **values: Any) -> Markup:
        """Return the sentence as safe HTML, each value escaped unless it is markup already."""
        return escape(self.translate(message)).format(**values)


ENGLISH = Wording(language="en", direction="ltr", translate=lambda message: message)
