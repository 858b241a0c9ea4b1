"""UUIDs are 16 bytes, however they are spelled."""

from __future__ import annotations

import uuid

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import uuids

ONE = uuid.UUID("0b4a1f3e-7a66-4a2e-9f55-0d6f2f0a6c01")


def texts(*values: str | None) -> pl.Series:
    return pl.Series("id", values, dtype=pl.String)


@given(st.lists(st.tuples(st.uuids(), st.sampled_from([str.lower, str.upper, str.title]))))
def test_a_uuid_is_its_16_bytes_in_either_case(some: list[tuple[uuid.UUID, type[str]]]) -> None:
    found = uuids.to_bytes(texts(*(spell(str(value)) for value, spell in some)))
    assert found.to_list() == [value.bytes for value, _ in some]
    assert found.name == "id"
    assert found.dtype == pl.Binary


def test_part_of_a_column_is_read_from_where_it_starts() -> None:
    some = [uuid.UUID(int=number) for number in range(10)]
    column = pl.concat([texts(*map(str, some[:4])), texts(*map(str, some[4:]))])
    assert uuids.to_bytes(column[3:7]).to_list() == [value.bytes for value in some[3:7]]


@pytest.mark.parametrize("other", [None, ONE.hex, "0b4a1f3e7a66-4a2e-9f55-0d6f-2f0a-6c01", "-" * 4 + ONE.hex])
def test_a_contract_may_let_uuids_be_absent_or_have_their_hyphens_elsewhere(other: str | None) -> None:
    expected = [ONE.bytes, None if other is None else bytes.fromhex(other.replace("-", "")), ONE.bytes]
    assert uuids.to_bytes(texts(str(ONE), other, str(ONE))).to_list() == expected


@pytest.mark.parametrize("place", range(36))
def test_what_is_no_digit_is_no_uuid(place: int) -> None:
    for other in "g/:@G`\x00":
        broken = str(ONE)[:place] + other + str(ONE)[place + 1 :]
        with pytest.raises(pl.exceptions.ComputeError):
            uuids.to_bytes(texts(str(ONE), broken))


def test_none_are_none() -> None:
    assert uuids.to_bytes(texts()).to_list() == []
