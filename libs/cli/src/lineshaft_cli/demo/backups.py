"""The plant's database is backed up, and the backup proven by restoring it."""

from pathlib import Path
from typing import Any

from lineshaft_cli.demo.checks import expect

BACKUP = {"backup_set": "plant"}
RESTORE = {"backup_set": "plant", "target": "plant_restored"}
ORDERS = "public.orders"


def check(job: dict[str, Any], _: list[Path]) -> str:
    """Look at what was proven: every table was equal after a restore from what is stored."""
    result = job["result"]
    counts = result["counts"]
    tables = {item["name"]: item["rows"] for item in result["items"]}
    expect("the backup was restored and compared", result["verified"] == "restore")
    expect("every table was equal", counts["ok"] == counts["requested"] == len(tables) > 0)
    expect("it holds the orders of the plant", tables[ORDERS] > 0)
    expect("it is among those that are kept", result["backup_id"] in result["kept"])
    return (
        f"{counts['ok']} tables, {sum(tables.values())} rows equal after a restore; "
        f"{result['bytes'] // 1024} KiB, back in {result['rto_seconds']:.1f} s"
    )


def check_restore(job: dict[str, Any], _: list[Path]) -> str:
    """Look at the dry run of a restore: it names the plan that the real one needs."""
    result = job["result"]
    expect("every table came back", result["counts"]["ok"] == result["counts"]["requested"] > 0)
    expect("nothing was left behind", result["restored"] is False)
    return f"backup {result['backup_id']} comes back in {result['rto_seconds']:.1f} s; plan named"
