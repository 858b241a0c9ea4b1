"""loader: NDJSON and Parquet files of events into PostgreSQL, every row accounted for.

A file's way through the modules, in order:

    landing      which files are ready; opening opens them, as they were found only
    identify     their contents' SHA-256, ahead of the rest
    compression  plain, gzip and zstd files as one stream of bytes; lines cuts it at newlines
    decode       files -> blocks of rows: ndjson (text, layout, documents, repeats; pure), parquet (batches, nested;
                 footer and pages say beforehand what is where and how large; thrift is their protocol)
    canonical    columns in the contract's dtypes: timestamps, jsonb, grammar, key_order; characters  (pure)
    contract     contracts/events.py -> fields, types, schema
    validate     rows + contract -> valid rows and rejects            (pure)
    units        blocks -> what is merged at once, sorted; ranges holds rows back for a large index, in a file (spill);
                 seen tells which keys came before; uuids
    encode       rows -> the binary COPY format                        (pure)
    staging      COPY into events or the staging table
    merge        units -> events, rows with known keys some units later (put_off), with what was made of them ahead
                 (prepared); compare tells duplicates from conflicts, over a second session too (comparer)
    aside        what is neither stored nor a duplicate, and why
    account      where each row went                                   (pure)
    ledger       which contents were loaded, with their counts
    quarantine   rejected rows (reject_file) and refused files; publish makes them durable, in a scratch folder at
                 first; rejected reads their rows again, for a replay
    settle       what comes after COMMIT, beside the next load: archive moves loaded files out of the landing folder

Around it:

    pipeline     strings the stages together in one transaction, item by item; prefetch lets them overlap
    reading      begins with the first of them before there is a database, and with each load before its turn (ahead)
    workers      several pipelines side by side, each over a database session of its own
    run          one whole run; progress and report show it; rehearse does it without a database
    cli          the command line, with commands (one module each); settings and conninfo say what is meant
    operate      what comes after the first load, a module for each
    database     connections and their errors; migrate; psql
    embedded     a PostgreSQL for who has none; embedded_home says where it lives and as whom
    sidecar      another process, for what many small files need
    single       the way in for one event
    simulate     synthetic events
    model, errors, names, resources, memory: what all of them share
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.single import ValidationError, ingest_event, validate_event

__version__ = "0.1.0"
__all__ = ["ValidationError", "__version__", "ingest_event", "validate_event"]


def __getattr__(name: str) -> Any:
    """Import the single-event way in when it is first asked for; the command line must start without it."""
    if name in ("ValidationError", "ingest_event", "validate_event"):
        from loader import single

        return getattr(single, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
