"""The run of report.generate: add up the shift, then draw its pages from the same snapshot."""

import asyncio
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from zoneinfo import ZoneInfo

import reportlab
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.job_types import RenderedTable, ReportParameters, ReportResult

from lineshaft_job_runner.job_type import JobContext, PermanentError, Source
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.pages import Frame, Pages
from lineshaft_job_runner.types.reporting.shift import COLUMNS, Shift, read, survey
from lineshaft_job_runner.types.reporting.shift_report import HEADINGS, columns, draw_summary
from lineshaft_job_runner.types.reporting.tables import TableWriter
from lineshaft_job_runner.types.reporting.typography import Typography

ASSETS = files("lineshaft_job_runner.types") / "assets"


async def run(context: JobContext, parameters: ReportParameters) -> ReportResult:
    """Write `<file_name>.pdf`; the job fails unless every row of every query is on a page."""
    digest = InputDigest(parameters)
    logo = find_asset(parameters.logo)
    async with context.source(parameters.source) as source:
        shift = await survey(context, source, parameters, digest)
        report = Report(context, parameters, shift)
        if not parameters.dry_run:
            async with context.artifact(
                f"{parameters.file_name}.pdf", media_type="application/pdf"
            ) as file:
                await report.write(source, file.path, logo)
                file.pages = report.pages
                file.rows = sum(table.rows_rendered for table in report.tables)
    return report.result(digest.hexadecimal())


class Report:
    """One shift report in the making."""

    def __init__(self, context: JobContext, parameters: ReportParameters, shift: Shift) -> None:
        self._context = context
        self._parameters = parameters
        self._shift = shift
        self._figures = shift.figures()
        self._numerals = Numerals(parameters.locale, ZoneInfo(parameters.timezone))
        self._typography = Typography()
        self._total = sum(shift.expected.values())
        self.tables: list[RenderedTable] = []
        self.pages = 0

    async def write(self, source: Source, path: Path, logo: Path | None) -> None:
        """Draw the summary and the tables."""
        pages = Pages(path, self._frame(logo), self._typography)
        draw_summary(pages, self._shift, self._figures, self._numerals)
        for query in COLUMNS:
            if self._shift.expected[query]:
                await self._write_table(pages, source, query)
        self._context.progress(self._total, self._total, "writing the file")
        self.pages = await asyncio.to_thread(pages.close)

    async def _write_table(self, pages: Pages, source: Source, query: str) -> None:
        pages.heading(HEADINGS[query])
        table = TableWriter(pages, columns(query, self._numerals))
        before = sum(done.rows_rendered for done in self.tables)
        async for batch in read(self._context, source, query, self._parameters):
            await asyncio.to_thread(table.add, batch)
            self._context.progress(before + table.rows, self._total, HEADINGS[query].lower())
        expected = self._shift.expected[query]
        if table.rows != expected:
            raise PermanentError(
                "rows_differ", f"{query} was counted {expected} rows but gave {table.rows}"
            )
        self.tables.append(
            RenderedTable(name=query, rows_expected=expected, rows_rendered=table.rows)
        )

    def _frame(self, logo: Path | None) -> Frame:
        numerals, parameters = self._numerals, self._parameters
        span = (
            f"{numerals.zoned(parameters.shift_start)} to {numerals.zoned(parameters.shift_end)}"
        )
        return Frame(
            title=self._typography.clean(parameters.title),
            subtitle=f"{self._context.tenant}, {span} ({parameters.timezone})",
            footer=f"Made {numerals.zoned(datetime.now(UTC))} by job {self._context.job_id}",
            logo=logo,
        )

    def result(self, digest: str) -> ReportResult:
        """Say what was drawn."""
        rendered = sum(table.rows_rendered for table in self.tables)
        return ReportResult(
            counts=Counts(requested=self._total, ok=rendered, skipped=self._total - rendered),
            artifacts=self._context.artifacts(),
            warnings=self._warnings(),
            engine=Engine(name="reportlab", version=reportlab.__version__),
            input_digest=digest,
            pages=self.pages,
            empty=self._shift.empty,
            figures=self._figures,
            tables=tuple(self.tables),
        )

    def _warnings(self) -> tuple[str, ...]:
        found: list[str] = []
        if not self._numerals.known:
            found.append(f"locale {self._parameters.locale} is not known: numbers are as in en")
        if self._typography.characters_missing:
            shown = "".join(sorted(self._typography.characters_missing)[:20])
            found.append(f"the font has no picture for these characters: {shown}")
        if self._typography.texts_cut:
            found.append(f"{self._typography.texts_cut} texts are cut at 500 characters")
        return tuple(found)


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
