"""A summary is verified with any secret key that is loaded, and with no other."""

import pytest

from checkstand.ambient import SystemRandom
from checkstand.errors import Refused
from checkstand.operations.close_day import sign_summary, verify_summary
from checkstand.vault import Vault

SUMMARY = {"day": "2026-01-31", "closed_by": "Ädä", "totals": [{"amount": "12.50"}]}


def _vault(*keys: str) -> Vault:
    return Vault([key * 32 for key in keys], SystemRandom())


def test_summary_outlives_the_rotation_of_its_key() -> None:
    document = sign_summary(_vault("old"), SUMMARY)

    assert verify_summary(_vault("new", "old"), document) == SUMMARY


def test_summary_of_another_key_is_not_ours_even_with_that_key_inside() -> None:
    document = sign_summary(_vault("theirs"), SUMMARY)

    with pytest.raises(Refused, match="another CHECKSTAND_SECRET_KEY"):
        verify_summary(_vault("ours"), document)


def test_same_summary_is_signed_alike_whatever_the_order_of_its_keys() -> None:
    turned = dict(reversed(SUMMARY.items()))

    assert sign_summary(_vault("k"), SUMMARY) == sign_summary(_vault("k"), turned)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"summary": 1, "signature": {}}', "[" * 100_000, "\x00"]
)
def test_what_is_no_summary_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(Refused) as caught:
        verify_summary(_vault("k"), text)

    assert caught.value.code == "summary_unreadable"
