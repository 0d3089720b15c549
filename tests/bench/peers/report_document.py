"""Makes one document in a process of its own: `report_document.py WAY ROWS FOLDER`.

Prints a JSON object: seconds, CPU seconds, the peak of resident memory in MiB, pages and bytes.
Imports are not counted, but their memory is.
"""

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2026, 11, 24, 5, tzinfo=UTC)
HEAD = ("Order", "Product", "Line", "Good", "Scrap", "Rework", "Started", "Finished")
WIDTHS = (100, 85, 42, 39, 39, 39, 82, 82)


def production(rows: int) -> list[tuple[Any, ...]]:
    """Give the orders of a shift."""
    return [
        (
            f"MO-{number:08d}", f"Gear {number % 97}", f"line-{number % 12}", 1_000 + number % 700,
            number % 50, number % 3, START + timedelta(seconds=number),
            None if number % 4 == 0 else START + timedelta(hours=1, seconds=number),
        )
        for number in range(rows)
    ]  # fmt: skip


def ours(rows: int, folder: Path, form: str) -> Callable[[], int]:
    """Prepare the whole job on rows in memory; returns what runs it."""
    from lineshaft_contracts.reports import ReportParameters
    from lineshaft_job_runner.job_type import ColumnType as T
    from lineshaft_job_runner.testing import FolderContext, Table, TableSource
    from lineshaft_job_runner.types.report_generate import ReportGenerate

    for name in ("work", "pdf", "html", "workbook"):
        importlib.import_module(f"lineshaft_job_runner.types.reporting.{name}")
    span = {"shift_start": T.TIMESTAMP, "shift_end": T.TIMESTAMP}
    kinds = (T.TEXT,) * 3 + (T.INTEGER,) * 3 + (T.TIMESTAMP,) * 2
    names = ("order_id", "product", "line", "good", "scrap", "rework", "started_at", "finished_at")
    tables = {
        "shift_production": Table(
            columns=dict(zip(names, kinds, strict=True)), rows=production(rows), parameters=span
        ),
        "shift_downtime": Table(
            columns={"line": T.TEXT, "reason": T.TEXT, "minutes": T.DOUBLE, "events": T.INTEGER},
            rows=[],
            parameters=span,
        ),
        "shift_hourly": Table(
            columns={"hour": T.TIMESTAMP, "good": T.INTEGER, "scrap": T.INTEGER},
            rows=[],
            parameters=span,
        ),
    }
    given = {
        "source": "mes", "format": form, "file_name": "ours",
        "shift_start": START.isoformat(), "shift_end": "2026-11-24T13:00:00Z",
    }  # fmt: skip
    context = FolderContext(folder, sources={"mes": TableSource(tables)})
    parameters = ReportParameters.model_validate(given)
    return lambda: asyncio.run(ReportGenerate().run(context, parameters)).pages


def platypus(rows: int, folder: Path) -> Callable[[], int]:
    """Prepare the usual way with reportlab: one LongTable, in two passes for "Page i of n"."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import LongTable, SimpleDocTemplate, TableStyle

    class Numbered(Canvas):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.states: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            self.states.append(dict(self.__dict__))
            self._startPage()  # pyright: ignore[reportAttributeAccessIssue]

        def save(self) -> None:
            for number, state in enumerate(self.states, start=1):
                self.__dict__.update(state)
                self.drawRightString(550, 20, f"Page {number} of {len(self.states)}")
                super().showPage()
            super().save()

    def run() -> int:
        data: list[tuple[str, ...]] = [HEAD]
        for *texts, good, scrap, rework, began, ended in production(rows):
            moments = (f"{m:%Y-%m-%d %H:%M}" if m else "-" for m in (began, ended))
            data.append((*texts, f"{good:,}", f"{scrap:,}", f"{rework:,}", *moments))
        style = [
            ("FONTSIZE", (0, 0), (-1, -1), 7.5),
            ("LEADING", (0, 0), (-1, -1), 9.5),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ("ALIGN", (3, 0), (5, -1), "RIGHT"),
            ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.whitesmoke]),
        ]
        table = LongTable(data, colWidths=WIDTHS, repeatRows=1, style=TableStyle(style))
        document = SimpleDocTemplate(str(folder / "platypus.pdf"), pagesize=A4)
        document.build([table], canvasmaker=Numbered)
        return document.page

    return run


def weasyprint(folder: Path) -> Callable[[], int]:
    """Prepare printing of the same report as HTML."""
    library: Any = importlib.import_module("weasyprint")

    def run() -> int:
        document: Any = library.HTML(filename=folder / "ours.html").render()
        document.write_pdf(folder / "weasyprint.pdf")
        return len(document.pages)

    return run


def peak_mebibytes() -> float:
    """Return the highest resident memory of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Measure one way once."""
    way, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if way == "platypus":
        run = platypus(rows, folder)
    elif way == "weasyprint":
        run = weasyprint(folder)
    else:
        run = ours(rows, folder, way)
    began, cpu = time.perf_counter(), time.process_time()
    pages = run()
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "mebibytes": peak_mebibytes(),
        "pages": pages,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
