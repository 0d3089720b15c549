"""`/api/keys`: making, listing and revoking API keys."""

from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from lineshaft_contracts.envelope import Moment, Tenant
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from pydantic import BaseModel, ConfigDict, Field

from lineshaft_gateway import keys
from lineshaft_gateway.json_input import refused
from lineshaft_gateway.keyring import Keyring
from lineshaft_gateway.keys import ApiKey, KeyStore, Principal, Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.guard import UNAUTHORIZED


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """Who or what uses it."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=20)]
    """Only scopes that the asking key has itself."""
    expires_at: Moment | None = None
    """At the latest when the asking key does, which is what it is when left out."""
    tenant: Tenant | None = None
    """Another than the asking key's only with `system:write`."""


class KeyView(BaseModel):
    """A key without its secret."""

    prefix: str
    """Begins the key's text after `lsk_`."""
    tenant: str
    name: str
    scopes: tuple[str, ...]
    created_at: Moment
    created_by: str | None
    """Prefix of the key that made it; None for the admin key."""
    expires_at: Moment | None
    revoked_at: Moment | None


class KeyCreated(KeyView):
    """The only answer that carries the secret."""

    key: str


class KeyList(BaseModel):
    """Keys of the tenant, newest first, also void ones."""

    keys: tuple[KeyView, ...]


class KeyRoutes:
    """Handlers."""

    def __init__(self, store: KeyStore, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def create(self, call: Call) -> web.Response:
        """201 with the key's text, which is not shown again."""
        new: NewKey = call.body
        tenant = new.tenant or call.principal.tenant
        _check(new, tenant, call.principal)
        # One that was revoked a moment ago must not leave a key behind that nobody revokes.
        self._keyring.forget(call.principal.prefix)
        if not await self._keyring.is_valid(call.principal):
            raise ProblemError(UNAUTHORIZED)
        key, text = keys.make(
            tenant=tenant,
            name=new.name,
            scopes=frozenset(new.scopes),
            created_by=call.principal.prefix,
            expires_at=new.expires_at or call.principal.expires_at,
        )
        await self._store.add(key)
        self._keyring.forget(key.prefix)
        created = KeyCreated(key=text, **view(key).model_dump())
        return json_answer(created, status=201, headers={"Cache-Control": "no-store"})

    async def list_all(self, call: Call) -> web.Response:
        """All keys of the tenant."""
        found = await self._store.list_of(call.principal.tenant)
        return json_answer(KeyList(keys=tuple(view(key) for key in found)))

    async def revoke(self, call: Call) -> web.Response:
        """204; other gateway processes accept the keys for 5 s more."""
        prefix = call.request.match_info["prefix"]
        key = await self._store.find(prefix)
        if key is None or key.tenant != call.principal.tenant:
            raise ProblemError(NOT_FOUND)
        if not key.scopes <= call.principal.scopes:
            raise ProblemError(_not_held(key.scopes - call.principal.scopes))
        for void in await self._store.revoke(prefix, call.principal.tenant):
            self._keyring.forget(void)
        return web.Response(status=204)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        prefix = Parameter(name="prefix", place="path", description="The key's prefix.")
        return (
            Operation(
                id="createKey",
                method="POST",
                path="/api/keys",
                tag="Keys",
                summary="Make an API key",
                handle=self.create,
                scope=Scope.KEYS_WRITE,
                body=NewKey,
                answers=(
                    Answer(
                        status=201,
                        description="The key; it is shown only here",
                        model=KeyCreated,
                    ),
                ),
                problems={403: "scope_not_held, wrong_tenant"},
                example={"name": "MES", "scopes": ["events:write", "jobs:read"]},
            ),
            Operation(
                id="listKeys",
                method="GET",
                path="/api/keys",
                tag="Keys",
                summary="List API keys",
                handle=self.list_all,
                scope=Scope.KEYS_WRITE,
                answers=(Answer(status=200, description="The keys", model=KeyList),),
            ),
            Operation(
                id="revokeKey",
                method="DELETE",
                path="/api/keys/{prefix}",
                tag="Keys",
                summary="Revoke an API key",
                description="Revokes the keys that it made, too.",
                handle=self.revoke,
                scope=Scope.KEYS_WRITE,
                parameters=(prefix,),
                answers=(Answer(status=204, description="Revoked"),),
                problems={403: "scope_not_held", 404: "key_not_found"},
            ),
        )


def view(key: ApiKey) -> KeyView:
    """Leave out what is secret."""
    return KeyView(
        prefix=key.prefix,
        tenant=key.tenant,
        name=key.name,
        scopes=tuple(sorted(key.scopes)),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
    )


def _check(new: NewKey, tenant: str, principal: Principal) -> None:
    if tenant != principal.tenant and not principal.may(Scope.SYSTEM_WRITE):
        raise ProblemError(WRONG_TENANT)
    missing = frozenset(new.scopes) - principal.scopes
    if missing:
        raise ProblemError(_not_held(missing))
    if tenant.startswith("_"):
        message = "must not begin with _: such tenants are the platform's own"
        raise _refused("/tenant", "reserved", message)
    if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
        raise _refused("/expires_at", "in_past", "must be in the future")
    if principal.expires_at and new.expires_at and new.expires_at > principal.expires_at:
        message = f"must not be later than the asking key's, {principal.expires_at.isoformat()}"
        raise _refused("/expires_at", "too_late", message)


def _refused(pointer: str, code: str, message: str) -> ProblemError:
    return ProblemError(refused((FieldProblem(pointer=pointer, code=code, message=message),)))


def _not_held(missing: frozenset[str]) -> Problem:
    return Problem(
        code="scope_not_held",
        title="A key cannot give away, or revoke, what it does not have",
        detail=f"The asking key lacks {', '.join(sorted(missing))}.",
        status=403,
    )


NOT_FOUND = Problem(code="key_not_found", title="There is no such key", status=404)
WRONG_TENANT = Problem(
    code="wrong_tenant",
    title="The key belongs to another tenant",
    detail="Keys of other tenants are made with the scope system:write.",
    status=403,
)
