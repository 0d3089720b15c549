"""The run of report.generate: what the rows mean, then all of them in every format asked for."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from zoneinfo import ZoneInfo

from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.reports import (
    RenderedTable,
    ReportFormat,
    ReportParameters,
    ReportResult,
)

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.reporting.choosing import template_class
from lineshaft_job_runner.types.reporting.document import Document, Table
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.outputs import Output, Outputs
from lineshaft_job_runner.types.reporting.survey import Survey, made
from lineshaft_job_runner.types.reporting.template import Content, Template

ASSETS = files("lineshaft_job_runner.types") / "assets"
LIBRARIES = {
    ReportFormat.PDF: "reportlab",
    ReportFormat.HTML: "jinja2",
    ReportFormat.XLSX: "xlsxwriter",
    ReportFormat.CSV: "lineshaft-job-runner",
}


async def run(context: JobContext, parameters: ReportParameters) -> ReportResult:
    """Write the files; the job fails unless every row of every query is in each of them."""
    digest = InputDigest(parameters)
    logo = find_asset(parameters.logo)
    numerals = Numerals(parameters.locale, ZoneInfo(parameters.timezone))
    template = template_class(parameters.template)(parameters, numerals)
    async with context.source(parameters.source) as source:
        survey = Survey(context, source, template)
        await survey.count()
        await survey.feed(digest)
        content = await template.content(context)
        report = Report(context, parameters, template, survey, content)
        if not parameters.dry_run:
            outputs = Outputs(context, parameters, report.document, numerals, logo)
            await report.write(outputs)
    return report.result(digest.hexadecimal())


class Report:
    """One report in the making."""

    def __init__(
        self,
        context: JobContext,
        parameters: ReportParameters,
        template: Template,
        survey: Survey,
        content: Content,
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._numerals = template.numerals
        self._content = content
        self._formats = tuple(parameters.formats) or (parameters.format,)
        self._empty = not any(survey.expected.values())
        self._rendered: list[RenderedTable] = []
        self._pages = 0
        self._warnings: list[str] = list(content.notes)
        self.document = self._document(template, survey)
        self._total = sum(table.rows_expected for table in self.document.tables)
        self._read = survey.total

    async def write(self, outputs: Outputs) -> None:
        """Read the rows once and write them to every file."""
        async with outputs.open(self._formats) as opened:
            done = 0
            for table in self.document.tables:
                done += await self._write_table(table, opened, done)
            self._progress(self._total, "writing the files")
            for output in opened:
                stop_if_cancelled(self._context)
                await self._finish(output)

    async def _write_table(self, table: Table, opened: Sequence[Output], done: int) -> int:
        takers = [output for output in opened if table in output.tables]
        for output in takers:
            await asyncio.to_thread(output.renderer.begin, table)
        read = 0
        async with aclosing(table.chunks()) as chunks:
            async for rows in chunks:
                for output in takers:
                    await asyncio.to_thread(output.renderer.add, rows)
                read += len(rows)
                self._progress(done + read, table.title.lower())
        for output in takers:
            rendered = output.renderer.rows
            if rendered != table.rows_expected:
                raise PermanentError(
                    "rows_differ",
                    f"{table.name} was counted {table.rows_expected} rows but gave {rendered}",
                )
            self._rendered.append(
                RenderedTable(
                    name=table.name,
                    format=output.format,
                    rows_expected=table.rows_expected,
                    rows_rendered=rendered,
                )
            )
            output.file.rows = (output.file.rows or 0) + rendered
        return read

    def _progress(self, written: int, message: str) -> None:
        self._context.progress(self._read + written, self._read + self._total, message)

    async def _finish(self, output: Output) -> None:
        pages = await asyncio.to_thread(output.renderer.close)
        if pages is not None:
            output.file.pages = self._pages = pages
        self._warnings += output.renderer.warnings()

    def _document(self, template: Template, survey: Survey) -> Document:
        numerals, parameters, content = self._numerals, self._parameters, self._content
        tables = [made(table) for table in content.tables] + survey.tables()
        notes = (template.empty,) if self._empty else content.notes
        return Document(
            title=parameters.title or template.title,
            subtitle=f"{self._context.tenant}, {template.subject()} ({parameters.timezone})",
            footer=f"Made {numerals.zoned(datetime.now(UTC))} by job {self._context.job_id}",
            figures=content.figures,
            charts=content.charts,
            tables=tables,
            notes=notes,
        )

    def result(self, digest: str) -> ReportResult:
        """Say what was written."""
        ok = 0 if self._parameters.dry_run else self._total
        first = LIBRARIES[self._formats[0]]
        if not self._numerals.known:
            locale = self._parameters.locale
            self._warnings.append(f"locale {locale} is not known: numbers are as in en")
        return ReportResult(
            counts=Counts(requested=self._total, ok=ok, skipped=self._total - ok),
            artifacts=self._context.artifacts(),
            warnings=tuple(self._warnings),
            engine=Engine(name=first, version=version(first)),
            input_digest=digest,
            template=self._parameters.template,
            pages=self._pages,
            empty=self._empty,
            figures={figure.name: figure.value for figure in self._content.figures},
            tables=tuple(self._rendered),
        )


def find_asset(name: str | None) -> Path | None:
    """Find a packed picture; raises PermanentError when it does not exist."""
    if name is None:
        return None
    packed = {asset.name: asset for asset in ASSETS.iterdir() if asset.name.endswith(".png")}
    if name not in packed:
        raise PermanentError(
            "asset_missing",
            f"no picture {name!r} is packed; there are: {', '.join(sorted(packed))}",
        )
    with as_file(packed[name]) as path:
        return path
