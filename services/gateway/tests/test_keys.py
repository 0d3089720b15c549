import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lineshaft_gateway.admin_key import NoLoginError, ensure_admin_key
from lineshaft_gateway.keyring import FRESH_SECONDS, Keyring
from lineshaft_gateway.keys import ALL_SCOPES, Scope, digest_of, make, parse
from lineshaft_gateway.settings import GatewaySettings
from pydantic import ValidationError

from .conftest import MemoryKeys, World, pointers, problem


async def test_a_new_key_works_at_once_and_its_secret_is_shown_once(world: World) -> None:
    admin = world.key()
    response = await world.client.post(
        "/api/keys", json={"name": "MES", "scopes": ["jobs:read"]}, headers=admin
    )
    made = await response.json()
    assert (response.status, made["tenant"], made["scopes"]) == (201, "acme", ["jobs:read"])
    mine = {"Authorization": f"Bearer {made['key']}"}
    await problem(await world.client.get("/api/jobs", headers=mine), 503, "service_unavailable")
    listed = await (await world.client.get("/api/keys", headers=admin)).text()
    assert made["prefix"] in listed
    assert made["key"].rsplit("_", 1)[1] not in listed
    assert "digest" not in listed
    assert "salt" not in listed


async def test_a_revoked_key_is_refused_at_once_and_revoking_again_changes_nothing(
    world: World,
) -> None:
    admin, other = world.key(), world.key()
    prefix = other["Authorization"].split("_")[1]
    assert (await world.client.get("/api/keys", headers=other)).status == 200
    for _ in range(2):
        gone = await world.client.delete(f"/api/keys/{prefix}", headers=admin)
        assert gone.status == 204
    await problem(await world.client.get("/api/keys", headers=other), 401, "unauthorized")


async def test_keys_of_another_tenant_are_not_there(world: World) -> None:
    acme, other = world.key("acme"), world.key("globex")
    prefix = acme["Authorization"].split("_")[1]
    gone = await world.client.delete(f"/api/keys/{prefix}", headers=other)
    await problem(gone, 404, "key_not_found")
    listed = await (await world.client.get("/api/keys", headers=other)).json()
    assert {key["tenant"] for key in listed["keys"]} == {"globex"}


async def test_a_key_gives_away_only_what_it_has(world: World) -> None:
    small = world.key("acme", Scope.KEYS_WRITE, Scope.JOBS_READ)
    new = {"name": "n", "scopes": ["jobs:write"]}
    more = await world.client.post("/api/keys", json=new, headers=small)
    await problem(more, 403, "scope_not_held")
    new = {"name": "n", "scopes": ["jobs:read"], "tenant": "globex"}
    elsewhere = await world.client.post("/api/keys", json=new, headers=small)
    await problem(elsewhere, 403, "wrong_tenant")
    by_operator = await world.client.post("/api/keys", json=new, headers=world.key())
    assert (by_operator.status, (await by_operator.json())["tenant"]) == (201, "globex")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["jobs:read"]}, "/name"),
        ({"name": "n", "scopes": []}, "/scopes"),
        ({"name": "n", "scopes": ["jobs:fly"]}, "/scopes/0"),
        (
            {"name": "n", "scopes": ["jobs:read"], "expires_at": "2001-01-01T00:00:00Z"},
            "/expires_at",
        ),
        ({"name": "n\0", "scopes": ["jobs:read"]}, "/name"),
        ({"name": "n", "scopes": ["jobs:read"], "tenant": "Not A Word"}, "/tenant"),
        ({"name": "n", "scopes": ["jobs:read"], "tenant": "_platform"}, "/tenant"),
        ({"name": "n", "scopes": ["jobs:read"], "tenant": "_other"}, "/tenant"),
    ],
)
async def test_a_bad_key_is_told_where_it_is_wrong(
    world: World, body: dict[str, object], pointer: str
) -> None:
    response = await world.client.post("/api/keys", json=body, headers=world.key())
    assert pointer in pointers(await problem(response, 422, "invalid_input"))


async def made_by(world: World, key: dict[str, str], **given: object) -> dict[str, str]:
    new = {"name": "n", "scopes": [*ALL_SCOPES], **given}
    made = await (await world.client.post("/api/keys", json=new, headers=key)).json()
    return {"Authorization": f"Bearer {made['key']}"}


async def test_a_key_does_not_outlive_the_one_that_made_it(world: World) -> None:
    ends = datetime.now(UTC) + timedelta(hours=1)
    parent = world.key(expires_at=ends)
    new = {"name": "n", "scopes": ["jobs:read"]}
    made = await (await world.client.post("/api/keys", json=new, headers=parent)).json()
    assert datetime.fromisoformat(made["expires_at"]) == ends
    later = {**new, "expires_at": (ends + timedelta(seconds=1)).isoformat()}
    refused = await world.client.post("/api/keys", json=later, headers=parent)
    assert pointers(await problem(refused, 422, "invalid_input")) == ["/expires_at"]


async def test_revoking_a_key_revokes_what_it_made(world: World) -> None:
    parent = world.key()
    child = await made_by(world, parent, tenant="globex")
    grandchild = await made_by(world, child)
    bystander = world.key()
    for key in (child, grandchild, bystander):
        assert (await world.client.get("/api/keys", headers=key)).status == 200
    prefix = parent["Authorization"].split("_")[1]
    gone = await world.client.delete(f"/api/keys/{prefix}", headers=bystander)
    assert gone.status == 204
    for key in (parent, child, grandchild):
        await problem(await world.client.get("/api/keys", headers=key), 401, "unauthorized")
    assert (await world.client.get("/api/keys", headers=bystander)).status == 200


async def test_a_key_that_another_gateway_revoked_makes_no_more_keys(world: World) -> None:
    key = world.key()
    assert (await world.client.get("/api/keys", headers=key)).status == 200
    await world.key_store.revoke(key["Authorization"].split("_")[1], "acme")
    new = {"name": "n", "scopes": ["jobs:read"]}
    refused = await world.client.post("/api/keys", json=new, headers=key)
    await problem(refused, 401, "unauthorized")


async def test_a_key_revokes_none_that_may_more(world: World) -> None:
    greater, lesser = world.key(), world.key("acme", Scope.KEYS_WRITE, Scope.JOBS_READ)
    prefix = greater["Authorization"].split("_")[1]
    refused = await world.client.delete(f"/api/keys/{prefix}", headers=lesser)
    await problem(refused, 403, "scope_not_held")
    assert (await world.client.get("/api/keys", headers=greater)).status == 200


@pytest.mark.parametrize("tenant", ["_platform", "_other"])
def test_the_default_tenant_is_none_of_the_platforms_own(tenant: str) -> None:
    with pytest.raises(ValidationError, match="default_tenant"):
        GatewaySettings.model_validate(
            {
                "amqp_url": "amqp://localhost/",
                "postgres_url": "postgresql://localhost/none",
                "default_tenant": tenant,
            }
        )


def test_a_key_is_hashed_with_a_salt_of_its_own() -> None:
    one, text = make(tenant="acme", name="n", scopes=frozenset())
    two, _ = make(tenant="acme", name="n", scopes=frozenset())
    parts = parse(text)
    assert parts is not None
    assert one.salt != two.salt
    assert one.matches(parts[1])
    assert not two.matches(parts[1])
    assert digest_of(parts[1], two.salt) != one.digest


async def test_a_key_that_was_revoked_elsewhere_is_refused_after_the_cache_time() -> None:
    now = 100.0
    store = MemoryKeys()
    keyring = Keyring(store, clock=lambda: now)
    key, text = make(tenant="acme", name="n", scopes=frozenset(ALL_SCOPES))
    await store.add(key)
    assert await keyring.recognise(text) is not None
    await store.revoke(key.prefix, "acme")
    assert await keyring.recognise(text) is not None
    now += FRESH_SECONDS
    assert await keyring.recognise(text) is None


async def test_the_first_start_writes_a_key_that_only_the_owner_can_read(tmp_path: Path) -> None:
    store, file = MemoryKeys(), tmp_path / "new" / "admin.key"
    await ensure_admin_key(store, file, "acme", "127.0.0.1")
    assert file.stat().st_mode & 0o777 == 0o600
    principal = await Keyring(store).recognise(file.read_text().strip())
    assert principal is not None
    assert (principal.tenant, principal.scopes) == ("acme", frozenset(ALL_SCOPES))
    before = file.read_text()
    await ensure_admin_key(store, file, "acme", "127.0.0.1")
    assert (file.read_text(), len(store.kept)) == (before, 1)


async def test_a_file_that_is_missing_or_void_is_written_anew(tmp_path: Path) -> None:
    store, file = MemoryKeys(), tmp_path / "admin.key"
    await ensure_admin_key(store, file, "acme", "0.0.0.0")  # noqa: S104 - not listened on.
    first = file.read_text()
    file.unlink()
    await ensure_admin_key(store, file, "acme", "127.0.0.1")
    second = file.read_text()
    assert second != first
    await ensure_admin_key(MemoryKeys(), file, "acme", "127.0.0.1")
    assert file.read_text() != second


async def test_removing_the_admin_key_file_rotates_the_key_and_no_other(tmp_path: Path) -> None:
    store, file = MemoryKeys(), tmp_path / "admin.key"
    await ensure_admin_key(store, file, "acme", "127.0.0.1")
    lost = file.read_text().strip()
    principal = await Keyring(store).recognise(lost)
    assert principal is not None
    child, text = make(tenant="acme", name="MES", scopes=frozenset(), created_by=principal.prefix)
    await store.add(child)
    file.unlink()
    await ensure_admin_key(store, file, "acme", "127.0.0.1")
    keyring = Keyring(store)
    assert await keyring.recognise(lost) is None
    assert await keyring.recognise(file.read_text().strip()) is not None
    assert await keyring.recognise(text) is not None


async def test_a_key_that_cannot_be_written_down_is_not_valid(tmp_path: Path) -> None:
    store, unwritable = MemoryKeys(), tmp_path / ("x" * 250)
    with pytest.raises(OSError, match="too long"):
        await ensure_admin_key(store, unwritable, "acme", "127.0.0.1")
    assert store.kept == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway"])  # noqa: S104
async def test_without_any_login_no_other_machine_is_served(host: str) -> None:
    store = MemoryKeys()
    with pytest.raises(NoLoginError, match="LINESHAFT_ADMIN_KEY_FILE"):
        await ensure_admin_key(store, None, "acme", host)
    await ensure_admin_key(store, None, "acme", "127.0.0.1")
    await ensure_admin_key(store, None, "acme", "localhost")
    key, _ = make(tenant="acme", name="n", scopes=frozenset())
    await store.add(key)
    await ensure_admin_key(store, None, "acme", host)


def test_a_key_says_when_it_is_valid() -> None:
    now = datetime.now(UTC)
    key, _ = make(tenant="acme", name="n", scopes=frozenset(), expires_at=now)
    assert not key.is_valid(now)
    assert json.dumps(sorted(ALL_SCOPES))
