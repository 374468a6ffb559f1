"""Every documented way for the service to say no.

A handler raises `Rejection`; the door turns it into the envelope. Wordings other than those of
400002, 400003, 400008, 400100, 400201 and 400202 are ours, as the pages give names only.
"""

from collections.abc import Mapping
from types import MappingProxyType

MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "400000": "An unknown error occurred while processing the request. Please try again later.",
        "400001": "Parameter format is wrong or parameter transmission violates the rules.",
        "400002": "Signature for this request is not valid.",
        "400003": "Timestamp for this request is outside of the recvWindow.",
        "400004": "Invalid API-key, IP, or permissions for action.",
        "400005": "API identity key's format is invalid.",
        "400006": "Http method is not supported.",
        "400007": "Media type is not supported.",
        "400008": "Request body is not a valid json object.",
        "400100": "Mandatory parameter '{}' was not sent, was empty/null, or malformed.",
        "400101": "Parameter '{}' has a wrong length or format.",
        "400102": "Parameter '{}' has a value out of range.",
        "400103": "Parameter '{}' has illegal characters.",
        "400104": "Request is too large.",
        "400201": "merchantTradeNo is invalid or duplicated",
        "400202": "Order not found.",
        "400203": "Account status does not support this.",
        "400204": "Order status does not allow this.",
        "400205": "Sub-merchant exists already.",
        "400206": "Sub-merchant is invalid.",
        "400301": "prepayId is invalid.",
        "400302": "Too many refund attempts.",
        "400303": "Refund amount is more than what remains.",
        "400304": "The merchant account's remaining amount is not enough.",
        "400606": "Merchant access forbidden.",
        "406108": "Fail rate is high, please try again later.",
    }
)


class Rejection(Exception):
    """The service says no with a documented code."""

    def __init__(self, code: str, parameter: str = "") -> None:
        self.code = code
        self.message = MESSAGES[code].format(parameter)
        super().__init__(f"{code} {self.message}")
