"""The inventory of a PostgreSQL database: rows and a checksum of each table, and the rest."""

from lineshaft_contracts.backups import BackupItem

from lineshaft_job_runner.types.backup.psql import Session
from lineshaft_job_runner.types.backup.subject import Inventory

_OWN = """
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = '{catalogue}'::regclass AND d.objid = o.oid
                      AND d.deptype = 'e')
"""
_TABLES = f"""
    SELECT format('%I.%I', n.nspname, o.relname) AS name
    FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace
    WHERE o.relkind = 'r' AND o.relpersistence IN ('p', 'u')
      AND {_OWN.format(catalogue="pg_class")}
    ORDER BY 1
"""  # noqa: S608 - of constants only.
_RELATIONS = f"""
    SELECT o.relkind::text AS kind, count(*) AS number
    FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace
    WHERE o.relpersistence IN ('p', 'u') AND o.relkind IN ('i', 'I', 'v', 'm', 'S', 'p', 'f')
      AND {_OWN.format(catalogue="pg_class")}
    GROUP BY 1
"""  # noqa: S608 - of constants only.
_OTHERS = f"""
    SELECT (SELECT count(*) FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace
            WHERE {_OWN.format(catalogue="pg_constraint")}) AS constraints,
           (SELECT count(*) FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace
            WHERE {_OWN.format(catalogue="pg_proc")}) AS functions,
           (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) AS triggers,
           (SELECT count(*) FROM pg_policy) AS policies,
           (SELECT count(*) FROM pg_extension) AS extensions,
           (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects
"""  # noqa: S608 - of constants only.
_NAMES = {
    "i": "indexes",
    "I": "partitioned_indexes",
    "v": "views",
    "m": "materialized_views",
    "S": "sequences",
    "p": "partitioned_tables",
    "f": "foreign_tables",
}


async def names(session: Session) -> list[str]:
    """List the tables that a dump has, with their schemas, quoted where need be."""
    return [row["name"] for row in await session.rows(_TABLES)]


async def inventory(session: Session) -> Inventory:
    """Count and sum up every table, in the session's snapshot.

    The checksum is the sum of a 64-bit hash of each row's text: the order does not matter, and no
    two differences are likely to cancel each other out. Names come quoted from the server itself.
    """
    items: list[BackupItem] = []
    for name in await names(session):
        row = await session.row(
            f"""
            SELECT count(*) AS rows, coalesce(sum(hashtextextended(
                       "lineshaft row"::text COLLATE "C", 0)::numeric), 0)::text AS digest
            FROM ONLY {name} AS "lineshaft row"
            """  # noqa: S608
        )
        items.append(BackupItem(name=name, rows=row["rows"], digest=row["digest"]))
    parts = {_NAMES[row["kind"]]: int(row["number"]) for row in await session.rows(_RELATIONS)}
    others = await session.row(_OTHERS)
    return Inventory(items=tuple(items), parts=parts | {k: int(v) for k, v in others.items()})
