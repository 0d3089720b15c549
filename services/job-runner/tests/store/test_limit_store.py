"""Limits as they are set, read, used and removed, each change with its entry in the audit."""

import pytest
from lineshaft_common.postgres import Pool
from lineshaft_contracts.job_control import JobLimit
from lineshaft_job_runner.store.audit import AuditStore
from lineshaft_job_runner.store.limits import LIMITS_MAX, LimitStore

pytestmark = pytest.mark.integration


async def test_a_limit_is_set_replaced_listed_and_removed(pool: Pool) -> None:
    limits = LimitStore(pool)
    rate = JobLimit(limit_key="erp", running_max=2, starts_max=60, per_seconds=60)
    made = await limits.set("erp", rate, tenant="acme", actor="k", every_tenant=False)
    assert made is not None
    assert (made.limit, made.every_tenant, made.running, made.starts_left) == (rate, False, 0, 60)
    paused = JobLimit(job_type="trial.wait", paused=True)
    replaced = await limits.set("erp", paused, tenant="acme", actor="k", every_tenant=False)
    assert replaced is not None
    assert (replaced.limit, replaced.starts_left) == (paused, None)
    await limits.set("all", rate, tenant="acme", actor="k", every_tenant=True)
    assert [v.name for v in await limits.list(tenant="acme")] == ["erp", "all"]
    assert [v.name for v in await limits.list(tenant="rival")] == ["all"]
    assert not await limits.delete("erp", tenant="rival", actor="k", every_tenant=False)
    assert await limits.delete("erp", tenant="acme", actor="k", every_tenant=False)
    assert [v.name for v in await limits.list(tenant="acme")] == ["all"]
    audit = await AuditStore(pool).page(tenant="acme", limit=10, cursor=None)
    actions = [entry.action for entry in audit.entries]
    assert actions == ["delete_limit", "set_limit", "set_limit", "set_limit"]


async def test_setting_a_rate_again_and_again_does_not_keep_it_from_filling_up(
    pool: Pool,
) -> None:
    limits = LimitStore(pool)
    rate = JobLimit(starts_max=10, per_seconds=100)
    for note in ("", "", "a", "b"):
        changed = rate.model_copy(update={"note": note})
        view = await limits.set("erp", changed, tenant="acme", actor="k", every_tenant=False)
        if not note:
            await pool.execute("UPDATE job_limits SET starts_left = 0")
        await pool.execute("UPDATE job_limits SET counted_at = counted_at - interval '10 seconds'")
    assert view is not None
    assert view.starts_left == 2


async def test_a_tenant_cannot_slow_claims_down_with_more_limits_than_there_may_be(
    pool: Pool,
) -> None:
    limits = LimitStore(pool)
    pause = JobLimit(paused=True)
    await pool.execute(
        """
        INSERT INTO job_limits (tenant, name, running_max, paused, note)
        SELECT 'acme', 'l' || n, 1, false, '' FROM generate_series(1, $1) AS n
        """,
        LIMITS_MAX,
    )
    assert await limits.set("more", pause, tenant="acme", actor="k", every_tenant=False) is None
    assert await limits.set("l1", pause, tenant="acme", actor="k", every_tenant=False)
    assert await limits.set("more", pause, tenant="rival", actor="k", every_tenant=False)
