"""Attachments: artifacts of earlier jobs of the same tenant, up to a size."""

from pathlib import Path
from tempfile import TemporaryDirectory

from lineshaft_contracts.email import EmailParameters

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.mailing.composing import Enclosure


async def fetch(
    context: JobContext, parameters: EmailParameters, digest: InputDigest, *, bytes_max: int
) -> list[Enclosure]:
    """Read the attachments; PermanentError `attachments_too_large` when they are too many."""
    enclosures: list[Enclosure] = []
    left = bytes_max
    for attachment in parameters.attachments:
        with TemporaryDirectory(prefix="lineshaft-mail-") as folder:
            path = Path(folder) / "attachment"
            artifact = await context.fetch_artifact(attachment.job_id, attachment.artifact, path)
            left -= artifact.bytes
            if left < 0:
                raise PermanentError(
                    "attachments_too_large",
                    f"a mail carries at most {bytes_max} bytes of attachments: write where the "
                    "reader finds the files instead",
                )
            content = path.read_bytes()
        digest.add_bytes(artifact.sha256.encode())
        enclosures.append(
            Enclosure(
                name=attachment.file_name or artifact.name,
                media_type=artifact.media_type.partition(";")[0] or "application/octet-stream",
                content=content,
            )
        )
    return enclosures
