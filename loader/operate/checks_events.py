"""Checks of `events`, which users may change: has anything been done to it that breaks a merge, or slows it down?"""

from __future__ import annotations

from loader.errors import UsageError
from loader.operate.checks_database import Server, ServerCheck
from loader.operate.findings import Finding, fail, megabytes, note, ok, warn, worst

_MANY_INDEXES = 4
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
}


def columns(server: Server) -> Finding:
    """`events` has the contract's columns, and needs no others."""
    from loader import migrate

    if server.contract is None:
        return fail("can't be compared with the contract, which can't be loaded")
    try:
        migrate.check_events(server.connection, server.contract)
    except UsageError as error:
        return fail(str(error), "mend the table or the contract (--contracts), so that they agree")
    required = [name for (name,) in server.rows("doctor_required_columns", columns=server.columns())]
    if required:
        return fail(
            f"{', '.join(required)}: the loader writes no such column, and it is NOT NULL without a default: "
            "no row can be stored",
            "\n".join(f"ALTER TABLE events ALTER COLUMN {name} DROP NOT NULL;" for name in required),
        )
    return ok("events has the contract's columns")


def table(server: Server) -> Finding:
    """`events` and the ledger are ordinary tables that survive a crash."""
    found = []
    rows = server.rows("doctor_tables")
    if missing := {"events", "loader_files"} - {row[0] for row in rows}:
        return fail(
            f"{', '.join(sorted(missing))}: no such table along the search path, although the schema was migrated",
            "loader psql -c 'SHOW search_path' -c '\\dt *.events' -c '\\dt *.loader_files'",
        )
    for name, shown, kind, persistence, _, _, has_children in rows:
        if kind in ("m", "f"):
            found.append(fail(f"{shown} is {_KINDS[kind]}: no row can be merged into it", f"make {name} a table"))
        elif kind == "v":
            found.append(warn(f"{shown} is a view: rows are merged, but none can be copied straight, which is slower"))
        elif persistence == "u":
            found.append(
                fail(f"{shown} is unlogged: a crash of the server empties it", f"ALTER TABLE {shown} SET LOGGED;")
            )
        elif kind == "p":
            found.append(note(f"{shown} is partitioned: a row that no partition takes goes to quarantine"))
        elif has_children:
            found.append(
                warn(
                    f"tables inherit from {shown}: an event_id in one of them is found, but not kept unique",
                    "loader psql -c '\\d+ events'",
                )
            )
    return worst(found, "events and loader_files are ordinary tables")


def event_key(server: Server) -> Finding:
    """`event_id` is unique at each instant: what the whole merge rests on."""
    keys = [row for row in server.rows("doctor_indexes") if row[1]]
    if any(is_valid and is_immediate for _, _, is_valid, is_immediate, _, _ in keys):
        deferrable = [name for name, _, _, is_immediate, _, _ in keys if not is_immediate]
        if deferrable:
            return fail(
                f"the constraint on event_id that {', '.join(deferrable)} serves is deferrable: no repeated event can "
                "be merged",
                _drop_constraints(keys),
            )
        size = sum(size for *_, size in keys)
        return ok(f"event_id is unique, its index has {megabytes(size)}")
    if any(is_valid for _, _, is_valid, _, _, _ in keys):
        return fail(
            "the constraint on event_id is deferrable: nothing can be merged",
            f"{_drop_constraints(keys)}\nALTER TABLE events ADD PRIMARY KEY (event_id);",
        )
    if keys:
        return fail(
            f"the unique index {keys[0][0]} on event_id is invalid: nothing can be merged",
            f"REINDEX INDEX CONCURRENTLY {keys[0][0]};   -- fails where an event_id is there twice",
        )
    return fail(
        "event_id has no unique index of its own (on that column alone, for all rows): nothing can be merged",
        "ALTER TABLE events ADD PRIMARY KEY (event_id);   -- fails where an event_id is there twice",
    )


def indexes(server: Server) -> Finding:
    """No other index costs time for nothing."""
    others = [row for row in server.rows("doctor_indexes") if not row[1]]
    invalid = [name for name, _, is_valid, *_ in others if not is_valid]
    found = []
    if invalid:
        found.append(
            warn(
                f"{', '.join(invalid)}: invalid, so each new row is written to it and no query uses it",
                "\n".join(f"REINDEX INDEX CONCURRENTLY {name};" for name in invalid),
            )
        )
    counted = f"{len(others)} indexes on events besides the key, {megabytes(sum(size for *_, size in others))}"
    if len(others) >= _MANY_INDEXES:
        found.append(
            note(
                f"{counted}: each costs time with every new row",
                "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE relname = 'events' ORDER BY 2;",
            )
        )
    return worst(found, counted)


def triggers(server: Server) -> Finding:
    """No trigger on `events` changes or drops rows, or slows down every one."""
    found = []
    for name, is_for_each_row, is_before, is_key in server.rows("doctor_triggers"):
        disable = f"ALTER TABLE events DISABLE TRIGGER {name};"
        if is_for_each_row and is_before:
            found.append(
                warn(
                    f"trigger {name} may change or drop rows before they are stored: "
                    "a dropped row ends its load, a changed one makes conflicts of later copies",
                    disable,
                )
            )
        elif is_key:
            found.append(
                note("a foreign key on events is looked up for each row: rows that it refuses go to quarantine")
            )
        elif is_for_each_row:
            found.append(note(f"trigger {name} runs for each new row, which is slow; one FOR EACH STATEMENT is not"))
    return worst(list(dict.fromkeys(found)), "no trigger fires for each new row")


def rules(server: Server) -> Finding:
    """No rule on `events` keeps rows from being merged."""
    rows = server.rows("doctor_rules")
    found = [
        fail(f"rule {name}: nothing can be merged into a table with rules on INSERT or UPDATE", _drop_rule(name))
        if is_in_the_way
        else warn(
            f"rule {name}: because of it no row is copied straight into events, which is slower", _drop_rule(name)
        )
        for name, is_in_the_way in rows
    ]
    return worst(found, "no rules on events")


def row_security(server: Server) -> Finding:
    """Row-level security hides nothing from the loader."""
    found = []
    ((role, *_),) = server.rows("doctor_role")
    for name, shown, _, _, is_active, has_policy, _ in server.rows("doctor_tables"):
        if not is_active:
            continue
        remedy = f"ALTER ROLE {role} BYPASSRLS;   -- or: ALTER TABLE {shown} DISABLE ROW LEVEL SECURITY;"
        if not has_policy:
            found.append(fail(f"row-level security without a policy hides all of {shown} from {role}", remedy))
        elif name == "events":
            found.append(
                warn(
                    f"row-level security applies to {role} on {shown}: no row is copied straight into it, which is "
                    "slower, and a load ends where a policy hides an event that it repeats",
                    remedy,
                )
            )
        else:
            found.append(
                warn(
                    f"row-level security applies to {role} on {shown}: a content that it hides is loaded again", remedy
                )
            )
    return worst(found, f"row-level security does not apply to {role}")


def _drop_constraints(keys: list[tuple[object, ...]]) -> str:
    constraints = [constraint for _, _, _, is_immediate, constraint, _ in keys if not is_immediate]
    return "\n".join(f"ALTER TABLE events DROP CONSTRAINT {constraint};" for constraint in constraints)


def _drop_rule(name: str) -> str:
    return f"DROP RULE {name} ON events;"


CHECKS: list[ServerCheck] = [table, columns, event_key, indexes, triggers, rules, row_security]
