"""A mail is handed over at most once although its process is killed at the worst moment."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import structlog
from aiosmtpd.smtp import AuthResult
from lineshaft_contracts.email import EmailParameters
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.children import ChildProcesses
from lineshaft_job_runner.job import ClaimedJob, Outcome
from lineshaft_job_runner.job_type import Isolation, PermanentError, RetryableError
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.mailing import work

from .smtp_server import SmtpServer, Taken, smtp_server

PARAMETERS: dict[str, Any] = {
    "to": [{"address": f"p{n}@acme.example"} for n in range(5)],
    "subject": "Hello",
    "text": "Words.\n",
}


def configure(monkeypatch: pytest.MonkeyPatch, server: SmtpServer, **more: str) -> None:
    values = {
        "HOST": "127.0.0.1",
        "PORT": str(server.port),
        "SECURITY": "none",
        "SENDER": "plant@acme.example",
        **more,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"LINESHAFT_MAIL_{name}", value)


def kill_children() -> None:
    for child in psutil.Process().children():
        if "lineshaft_job_runner.child" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)


async def outcome(store: MemoryStore, job: ClaimedJob, folder: Path) -> Outcome:
    store.jobs.append(job)
    children = ChildProcesses(
        places=1,
        idle_seconds=60,
        grace_seconds=0.3,
        object_store_url=folder.as_uri(),
        engine=store,
    )
    executors = {Isolation.PROCESS: children}
    with structlog.testing.capture_logs():
        async with (
            children,
            memory_runner(
                store, Catalogue.installed(), folder, lease_seconds=5, executors=executors
            ),
            asyncio.timeout(60),
        ):
            return await store.end_of(job)


@pytest.mark.parametrize("connections", [1, 4])
async def test_a_process_killed_before_the_answer_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    store = MemoryStore()
    job = claimed_job("email.send", parameters=PARAMETERS, timeout_seconds=60)

    def die_at_the_third(taken: Taken) -> None:
        if taken.recipients == ["p2@acme.example"]:
            kill_children()

    async with smtp_server() as server:
        configure(monkeypatch, server, CONNECTIONS_MAX=str(connections))
        server.on_taken = die_at_the_third
        first = await outcome(store, job, tmp_path)
        assert first.error is not None
        assert first.error.code == "process_died"
        assert store.records[job.id]["p2@acme.example"]["state"] == "sending"
        again = replace(job, attempt=2, lease_token=uuid4())
        second = await outcome(store, again, tmp_path)
        assert second.state is JobState.SUCCEEDED
        assert second.result is not None
        unknown = second.result["unknown"]
        assert 1 <= unknown <= connections
        assert second.result["sent"] == 5 - unknown
        assert set(server.by_recipient.values()) == {1}


def certificate(folder: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, cert = folder / "key.pem", folder / "cert.pem"
    request = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(
        [*request, *names, "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    return key, cert


def check_login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"plant", b"right"), handled=False)


@pytest.mark.filterwarnings("ignore:Session.login_data:DeprecationWarning")
async def test_a_login_over_tls_needs_a_trusted_certificate_and_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    secret = tmp_path / "password"
    secret.write_text("right\n")
    options = {"tls_context": tls, "require_starttls": True, "auth_required": True}
    async with smtp_server(authenticator=check_login, **options) as server:
        configure(monkeypatch, server, SECURITY="starttls", USER="plant")
        monkeypatch.setenv("LINESHAFT_MAIL_PASSWORD_FILE", str(secret))
        parameters = EmailParameters.model_validate(PARAMETERS)
        with pytest.raises(RetryableError) as untrusted:
            await work.run(FolderContext(tmp_path), parameters)
        assert untrusted.value.code in {"smtp_tls_failed", "smtp_unavailable"}
        monkeypatch.setenv("LINESHAFT_MAIL_CA_FILE", str(cert))
        assert (await work.run(FolderContext(tmp_path), parameters)).sent == 5
        secret.write_text("wrong\n")
        with pytest.raises(PermanentError) as refused:
            await work.run(FolderContext(tmp_path), parameters)
        assert refused.value.code == "smtp_login_refused"


async def test_a_password_is_not_sent_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINESHAFT_MAIL_HOST", "mail.acme.example")
    monkeypatch.setenv("LINESHAFT_MAIL_SECURITY", "none")
    monkeypatch.setenv("LINESHAFT_MAIL_PASSWORD", "secret-words")
    with pytest.raises(PermanentError, match="starttls or tls") as refused:
        await work.run(FolderContext(tmp_path), EmailParameters.model_validate(PARAMETERS))
    assert "secret-words" not in str(refused.value)
