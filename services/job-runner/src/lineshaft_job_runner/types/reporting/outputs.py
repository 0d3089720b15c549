"""The files of a report: what each format is called, and what writes it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lineshaft_contracts.reports import ReportFormat, ReportParameters

from lineshaft_job_runner.job_type import ArtifactFile, JobContext
from lineshaft_job_runner.types.reporting.document import Document, Table
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.rendering import Renderer

MEDIA_TYPES = {
    ReportFormat.PDF: "application/pdf",
    ReportFormat.HTML: "text/html; charset=utf-8",
    ReportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ReportFormat.CSV: "text/csv; charset=utf-8",
}


@dataclass(kw_only=True)
class Output:
    """One file in the making."""

    format: ReportFormat
    file: ArtifactFile
    renderer: Renderer
    tables: Sequence[Table]
    """Those that it shows."""


class Outputs:
    """Opens the files of one document."""

    def __init__(
        self,
        context: JobContext,
        parameters: ReportParameters,
        document: Document,
        numerals: Numerals,
        logo: Path | None,
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._document = document
        self._numerals = numerals
        self._logo = logo

    @asynccontextmanager
    async def open(self, formats: Sequence[ReportFormat]) -> AsyncGenerator[list[Output]]:
        """Open all files; each is stored when the block ends without an error."""
        async with AsyncExitStack() as stack:
            outputs: list[Output] = []
            for one in formats:
                for name, tables in self._names(one):
                    artifact = self._context.artifact(name, media_type=MEDIA_TYPES[one])
                    file = await stack.enter_async_context(artifact)
                    renderer = self._renderer(one, file.path)
                    stack.callback(renderer.abandon)
                    outputs.append(Output(format=one, file=file, renderer=renderer, tables=tables))
            yield outputs

    def _names(self, one: ReportFormat) -> list[tuple[str, Sequence[Table]]]:
        stem = self._parameters.file_name or self._parameters.template.value
        if one is not ReportFormat.CSV:
            return [(f"{stem}.{one}", self._document.tables)]
        tables = self._document.tables
        return [(f"{stem}-{table.name.replace('_', '-')}.csv", [table]) for table in tables]

    def _renderer(self, one: ReportFormat, path: Path) -> Renderer:
        """Return what writes a format, whose library no other format has to load."""
        document, numerals, logo = self._document, self._numerals, self._logo
        match one:
            case ReportFormat.PDF:
                from lineshaft_job_runner.types.reporting.pdf import PdfRenderer  # noqa: PLC0415

                return PdfRenderer(path, document, numerals, logo)
            case ReportFormat.HTML:
                from lineshaft_job_runner.types.reporting.html import HtmlRenderer  # noqa: PLC0415

                language = self._parameters.locale
                return HtmlRenderer(path, document, numerals, language=language, logo=logo)
            case ReportFormat.XLSX:
                from lineshaft_job_runner.types.reporting.workbook import (  # noqa: PLC0415
                    WorkbookRenderer,
                )

                return WorkbookRenderer(path, document, numerals, logo)
            case ReportFormat.CSV:
                from lineshaft_job_runner.types.reporting.csv_file import (  # noqa: PLC0415
                    CsvRenderer,
                )

                return CsvRenderer(path, numerals)
