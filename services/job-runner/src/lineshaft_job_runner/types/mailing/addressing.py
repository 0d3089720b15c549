"""Who gets a mail: addresses as SMTP takes them, each once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import idna
from lineshaft_contracts.email import (
    RECIPIENTS_MAX,
    Delivery,
    EmailParameters,
    Mailbox,
    Recipient,
    RecipientQuery,
)
from pydantic import ValidationError

from lineshaft_job_runner.job_type import JobContext, PermanentError


class Role(StrEnum):
    """The header that names a recipient; none names Bcc."""

    TO = "To"
    CC = "Cc"
    BCC = "Bcc"


@dataclass(frozen=True, kw_only=True)
class Addressee:
    """One recipient of one mail."""

    mailbox: Mailbox
    envelope: str
    """As SMTP takes it: the domain in ASCII; the local part may need SMTPUTF8."""
    role: Role = Role.TO
    variables: Mapping[str, Any]
    key: str
    """Names the mail in records: no server that anybody uses tells cases apart."""

    @property
    def address(self) -> str:
        """Names the recipient in records and results."""
        return self.mailbox.address

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return not self.envelope.isascii()


@dataclass(frozen=True, kw_only=True)
class Addressees:
    """All recipients of a job, each address once."""

    found: tuple[Addressee, ...]
    repeated: tuple[str, ...]
    """Addresses that came again."""
    invalid: tuple[tuple[str, str], ...] = ()
    """Text that is no address, and why."""


def envelope_address(address: str) -> str:
    """Return an address with its domain in ASCII; raises ValueError."""
    local, _, domain = address.rpartition("@")
    try:
        encoded = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{domain!r} is not a domain: {error}") from error
    return f"{local}@{encoded}"


async def gather(context: JobContext, parameters: EmailParameters) -> Addressees:
    """Collect the recipients of the parameters and of the data source."""
    invalid: list[tuple[str, str]] = []
    given: list[tuple[Role, Mailbox, Mapping[str, Any]]] = []
    if parameters.recipients is not None:
        for row in await _read(context, parameters.recipients):
            try:
                recipient = _recipient(parameters.recipients, row)
            except ValueError as error:
                text = str(row.get(parameters.recipients.address_column))
                invalid.append((text[:254], _why(error)))
                continue
            given.append((Role.TO, recipient, row))
    given += [(Role.TO, r, r.variables) for r in parameters.to]
    given += [(Role.CC, mailbox, {}) for mailbox in parameters.cc]
    given += [(Role.BCC, mailbox, {}) for mailbox in parameters.bcc]
    return _once_each(given, invalid)


def split(addressees: Sequence[Addressee], delivery: Delivery) -> list[tuple[Addressee, ...]]:
    """Return the recipients of each mail."""
    if delivery is Delivery.TOGETHER:
        return [tuple(addressees)]
    return [(addressee,) for addressee in addressees]


def _once_each(
    given: Sequence[tuple[Role, Mailbox, Mapping[str, Any]]], invalid: list[tuple[str, str]]
) -> Addressees:
    found: dict[str, Addressee] = {}
    repeated: list[str] = []
    for role, mailbox, variables in given:
        try:
            envelope = envelope_address(mailbox.address)
        except ValueError as error:
            invalid.append((mailbox.address, _why(error)))
            continue
        addressee = Addressee(
            mailbox=mailbox,
            envelope=envelope,
            role=role,
            variables=variables,
            key=envelope.casefold(),
        )
        if addressee.key in found:
            repeated.append(mailbox.address)
        else:
            found[addressee.key] = addressee
    return Addressees(
        found=tuple(found.values()), repeated=tuple(repeated), invalid=tuple(invalid)
    )


async def _read(context: JobContext, query: RecipientQuery) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with (
        context.source(query.source) as source,
        source.read(query.query, query.query_parameters) as answer,
    ):
        for column in (query.address_column, query.name_column):
            if column is not None and column not in answer.columns:
                raise PermanentError(
                    "source_column_unknown", f"the query has no column {column!r}"
                )
        async for batch in answer.batches():
            rows += [dict(zip(answer.columns, row, strict=True)) for row in batch]
            if len(rows) > RECIPIENTS_MAX:
                raise PermanentError(
                    "too_many_recipients",
                    f"a job writes to at most {RECIPIENTS_MAX} recipients: send several jobs",
                )
    return rows


def _recipient(query: RecipientQuery, row: Mapping[str, Any]) -> Recipient:
    name = row.get(query.name_column) if query.name_column else None
    return Recipient(address=row[query.address_column], name="" if name is None else str(name))


def _why(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return error.errors(include_url=False, include_input=False)[0]["msg"][:300]
    return str(error)[:300]
