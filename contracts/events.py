"""The event contract: what a row must be to become a fact. Written here and nowhere else.

The decoder's types, the staging table's columns and the binary COPY encoding all derive from this model.
Each field names its Postgres type in `metadata["postgres"]`; the type decides how the value may be spelled:

    type          in NDJSON      in Parquet                              rule
    uuid          string         string, 16 bytes, UUID                  hyphenated 8-4-4-4-12, either case
    text          string         string, dictionary                      no U+0000, which Postgres can't store
    timestamptz   string         string, timestamp with a time zone      RFC 3339, see `loader/timestamps.py`
    jsonb         any value      JSON text, struct, map                  what jsonb can hold, see `loader/jsonb.py`
    bigint        integer        any integer                             64 bit, signed
    double precision  number     float, any integer                      64 bit IEEE 754
    boolean       true, false    boolean

Values are never coerced: a number where a string is due is rejected. `nullable=True` lets a field be null or absent.
A check's failure becomes the reject's code: `metadata["codes"]` names it for Pandera's built-in checks, a
`@pa.check(..., name="code")` names its own. Raise `version` with every change; the ledger records it.
"""

from typing import Annotated

import pandera.polars as pa
import polars as pl
from pandera.api.polars.model_config import BaseConfig


class Events(pa.DataFrameModel):
    """One event: who did what when, and whatever else is known of it."""

    event_id: pl.String = pa.Field(metadata={"postgres": "uuid"})
    event_name: pl.String = pa.Field(
        str_length={"min_value": 1},
        metadata={"postgres": "text", "codes": {"str_length": "empty_string"}},
        description="text that is not empty",
    )
    event_time: Annotated[pl.Datetime, "us", "UTC"] = pa.Field(
        metadata={"postgres": "timestamptz"},
        description="an RFC 3339 timestamp with an offset, years 0001 to 9999 in UTC",
    )
    user_id: pl.String = pa.Field(
        str_length={"min_value": 1},
        metadata={"postgres": "text", "codes": {"str_length": "empty_string"}},
        description="text that is not empty",
    )
    properties: pl.String = pa.Field(
        str_matches=r"^[ \t\r\n]*\{",
        metadata={"postgres": "jsonb", "codes": {"str_matches": "properties_not_object"}},
        description="a JSON object",
    )

    class Config(BaseConfig):
        """Settings of the whole contract."""

        strict = True
        metadata = {
            "version": "1",
            # "reject": a row with a field that stands not above is rejected, so that no fact is dropped in silence.
            # "ignore": such fields are dropped.
            "unknown_fields": "reject",
        }
