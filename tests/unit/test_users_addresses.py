"""What is one e-mail address, however it is written."""

from __future__ import annotations

import sys
from unicodedata import normalize

import pytest
from pydantic import TypeAdapter

from slipway.auth.addresses import LONGEST, address_key, folded, parts_of_keys
from slipway.http.fields import Email

ONE = [
    ("info@xn--bcher-kva.example", "info@b\u00fccher.example"),
    ("info@XN--BCHER-KVA.EXAMPLE", "Info@B\u00dcCHER.Example"),
    ("info@bu\u0308cher.example", "info@b\u00fccher\u3002example"),
    (
        "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2@example.com",
        "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3@example.com",
    ),
    (
        "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3@example.com",
        "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3@example.com",
    ),
    ("ren\u00e9@example.com", "RENE\u0301@example.com"),
    ("\uff41\uff44\uff41@example.com", "ADA@\uff25xample.com"),
    ("stra\u00dfe@example.com", "STRASSE@example.com"),
    ("\u0131\u015f\u0131k@example.com", "I\u015eIK@example.com"),
    ("\u0130da@example.com", "ida@example.com"),
    ("i\u0307da@example.com", "ida@example.com"),
    (" ada@example.com ", "ada@example.com."),
    ("Ada Lovelace <ada@example.com>", "ada@example.com"),
    ("admin@cluster.local", " ADMIN@Cluster.Local"),
    ("root", "ROOT "),
]
TWO = [
    ("ada.b@example.com", "adab@example.com"),
    ("ada+x@example.com", "ada@example.com"),
    ("ada@fa\u00df.example", "ada@fass.example"),
    ("ada@xn--fa-hia.example", "ada@fass.example"),
    ("ada@\u03b2\u03cc\u03bb\u03bf\u03c2.example", "ada@\u03b2\u03cc\u03bb\u03bf\u03c3.example"),
    ("ren\u00e9@example.com", "rene@example.com"),
    ("ada@example.com", "ada@example.org"),
    ("ada@b\u00fccher.example", "ada@bucher.example"),
    ("\u0430da@example.com", "ada@example.com"),
]


@pytest.mark.parametrize(("one", "other"), ONE)
def test_spellings_of_one_address_have_one_key(one: str, other: str) -> None:
    assert address_key(one) == address_key(other)


@pytest.mark.parametrize(("one", "other"), TWO)
def test_addresses_that_differ_by_more_than_their_spelling_have_two_keys(one: str, other: str) -> None:
    assert address_key(one) != address_key(other)


def test_no_letter_of_unicode_is_told_from_its_own_other_cases_and_forms() -> None:
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    apart = [
        hex(ord(letter))
        for letter in letters
        for form in {
            letter.upper(),
            letter.lower(),
            letter.title(),
            letter.casefold(),
            normalize("NFD", letter),
            normalize("NFKC", letter),
        }
        if form != letter and folded(form) != folded(letter)
    ]
    assert apart == []


@pytest.mark.parametrize("typed", [one for pair in ONE[:-3] for one in pair if not one.endswith(".")])
def test_what_makes_an_account_has_the_key_of_what_is_stored(typed: str) -> None:
    assert address_key(TypeAdapter(Email).validate_python(typed)) == address_key(typed)


def test_a_key_fits_into_an_index_whatever_its_letters_fold_to() -> None:
    assert len(address_key("\ufdfa" * 100 + "@example.com")) == LONGEST


@pytest.mark.parametrize(
    "part",
    [
        "INFO@",
        "b\u00fccher",
        "B\u00dcCHER.exa",
        "xn--bcher-kva",
        "@xn--bcher-kva.example",
        "info@XN--bcher-kva.example",
    ],
)
def test_part_of_an_address_is_part_of_its_key(part: str) -> None:
    key = address_key("info@b\u00fccher.example")
    assert any(found in key for found in parts_of_keys(part))


def test_a_half_written_domain_is_looked_for_as_it_is() -> None:
    assert "xn--\u00fc" in parts_of_keys("xn--\u00fc")
    assert parts_of_keys("@xn--99999999999") == {"@xn--99999999999"}
