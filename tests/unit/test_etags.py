"""Lists of entity tags, as clients and the proxies between send them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.http.etags import ANY, content_tag, tags_of

OPAQUE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"', exclude_categories=["Cc"])
)


@pytest.mark.parametrize(
    "line",
    [
        '"3"', ' "3"\t', 'W/"3"', '"3-gzip"', '"3--gzip"', '"3;gzip"', 'W/"3-br"', '"3-zstd"', '"3-deflate"',
        '"1", "3"', '"1","3"', '"1" ,\tW/"3"', ',"3"', '"3",', '"1",, ,"3"',
    ],
)  # fmt: skip
def test_our_tag_is_found_however_a_proxy_marked_it_and_the_client_listed_it(line: str) -> None:
    assert '"3"' in (tags_of([line]) or ())


OTHERS = (
    '"33"', '"-3"', 'W/"33"', '"3-"', '"3-gz"', '"3 gzip"', '"gzip"', '""', 'W/""', '"W/3"', '"1,3"', '"3-gzip-gzip"',
    '"3-1"',
)  # fmt: skip
MALFORMED = (
    "", " ", ",", "3", "3, 4", '"3', '3"', "'3'", 'w/"3"', 'W/ "3"', "W/3", '"3" "4"', '*, "3"', '"3", *', "**",
    '"a b"',
    '"\x7f"', '"3"; q=1', '"3"x',
)  # fmt: skip


@pytest.mark.parametrize("line", OTHERS)
def test_other_tags_are_not_ours(line: str) -> None:
    assert '"3"' not in (tags_of([line]) or ())


@pytest.mark.parametrize("line", MALFORMED)
def test_what_is_no_list_of_tags_is_told_from_one(line: str) -> None:
    assert tags_of([line]) is None


@pytest.mark.parametrize("line", ["*", " * ", "*\t"])
def test_the_star_is_any(line: str) -> None:
    assert tags_of([line]) == {ANY}


def test_lines_of_one_header_are_one_list() -> None:
    assert tags_of(['"1"', 'W/"2", "3"']) == {'"1"', '"2"', '"3"'}
    assert tags_of(['"1"', "*"]) is None


@given(st.lists(OPAQUE, min_size=1, max_size=5), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_every_tag_of_the_rfc_is_understood_also_with_commas_in_it(opaque: list[str], separator: str) -> None:
    tags = [f'"{text}x"' for text in opaque]  # no coding ends with x
    assert tags_of([separator.join(tags)]) == set(tags)
    assert tags_of([separator.join(f"W/{tag}" for tag in tags)]) == set(tags)


def test_a_long_list_that_is_none_is_told_quickly() -> None:
    assert tags_of(['"1"' + " ," * 15_000 + "x"]) is None
    assert tags_of(['"1",' * 8_000 + "x"]) is None


def test_content_has_another_tag_when_any_byte_differs() -> None:
    assert content_tag(b"a") == content_tag(b"a") != content_tag(b"b")
    assert tags_of([content_tag(b"a")]) == {content_tag(b"a")}
