"""Limits as they are set, read, used and removed, each change with its entry in the audit."""

import pytest
from lineshaft_common.postgres import Pool
from lineshaft_contracts.job_control import JobLimit
from lineshaft_job_runner.store.audit import AuditStore
from lineshaft_job_runner.store.limits import LimitStore

pytestmark = pytest.mark.integration


async def test_a_limit_is_set_replaced_listed_and_removed(pool: Pool) -> None:
    limits = LimitStore(pool)
    rate = JobLimit(limit_key="erp", running_max=2, starts_max=60, per_seconds=60)
    made = await limits.set("erp", rate, tenant="acme", actor="k", every_tenant=False)
    assert (made.limit, made.every_tenant, made.running, made.starts_left) == (rate, False, 0, 60)
    paused = JobLimit(job_type="trial.wait", paused=True)
    replaced = await limits.set("erp", paused, tenant="acme", actor="k", every_tenant=False)
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
