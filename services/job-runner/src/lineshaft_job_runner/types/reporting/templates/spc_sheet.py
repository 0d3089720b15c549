"""Template spc-sheet: the control chart of one characteristic, its signals and its values."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, ClassVar

from lineshaft_contracts.reports import ReportParameters
from lineshaft_contracts.spc import ChartKind, ChartParameters, Stability
from pydantic import ValidationError

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.reporting.document import (
    Column,
    Figure,
    Form,
    Row,
    Tone,
    Trace,
)
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.template import (
    Content,
    MadeTable,
    SavedTable,
    Template,
)
from lineshaft_job_runner.types.spc.analysis import Analysis, analyze
from lineshaft_job_runner.types.spc.measurements import gather
from lineshaft_job_runner.types.spc.panels import Panel

VALUES_MAX = 5_000
"""What a sheet can show; quality.analyze takes millions."""
SIGNALS_SHOWN = 100
SIGNALS = (
    Column(name="point", title="Point", form=Form.COUNT, share=1),
    Column(name="start", title="Began at", form=Form.COUNT, share=1),
    Column(name="chart", title="Chart", share=2),
    Column(name="rule", title="Rule", share=3),
)
MEASUREMENTS = SavedTable(
    title="Measurements",
    columns=(
        Column(name="subgroup", title="Subgroup", form=Form.COUNT, share=1),
        Column(name="value", title="Value", form=Form.MEASURE, share=2),
    ),
    rows_max=VALUES_MAX,
)
TONES = {
    Stability.IN_CONTROL: Tone.GOOD,
    Stability.OUT_OF_CONTROL: Tone.BAD,
    Stability.INSUFFICIENT_DATA: Tone.WARNING,
}


class SpcSheetTemplate(Template):
    """Judged exactly as quality.analyze does it."""

    title = "Control chart"
    empty = "No measurements of this characteristic are recorded."
    queries: ClassVar[Mapping[str, SavedTable]] = {"measurements": MEASUREMENTS}

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        super().__init__(parameters, numerals)
        if parameters.spc is None:
            raise ValueError("spc-sheet needs spc")
        self._sheet = parameters.spc
        self._rows: list[Row] = []

    def query_parameters(self) -> dict[str, Any]:
        """Return whose measurements are read."""
        return {"characteristic": self._sheet.characteristic}

    def subject(self) -> str:
        """Say whose measurements are shown."""
        return self._sheet.characteristic

    def add(self, query: str, row: Row) -> None:
        """Keep a measurement; a chart needs all of them."""
        self._rows.append(row)

    async def content(self, context: JobContext) -> Content:
        """Judge the process."""
        if not self._rows:
            return Content(figures=[_figure("points", "Points", 0)])
        parameters = self._chart_parameters()
        measurements = await gather(context, parameters)
        analysis = analyze(measurements, parameters)
        stable = analysis.stability is Stability.IN_CONTROL
        notes = [] if stable else [analysis.reason]
        if measurements.unequal:
            notes.append(f"{measurements.unequal} subgroups of another size are left out")
        return Content(
            figures=self._figures(analysis),
            charts=[self._trace(analysis, panel) for panel in analysis.panels],
            tables=_signals(analysis),
            notes=notes,
        )

    def _chart_parameters(self) -> ChartParameters:
        sheet = self._sheet
        chart = ChartKind(sheet.chart)
        values: dict[str, Any] = {"values": tuple(value for _, value in self._rows)}
        if chart is not ChartKind.I_MR:
            groups = groupby(self._rows, key=lambda row: row[0])
            values = {"subgroups": tuple(tuple(v for _, v in rows) for _, rows in groups)}
        given = sheet.model_dump(include={"phase1_points", "specification", "rules"})
        try:
            return ChartParameters.model_validate({"chart": chart, **given, **values})
        except ValidationError as error:
            first = error.errors()[0]
            raise PermanentError(
                "measurements_unfit",
                f"the measurements do not make a chart {chart}: {first['msg']}",
            ) from error

    def _figures(self, analysis: Analysis) -> list[Figure]:
        limits, unit = analysis.panels[0].limits(), self._with_unit
        stability = analysis.stability
        verdict = stability.value.replace("_", " ")
        return [
            _figure("stability", "The process is", verdict, Form.TEXT, TONES[stability]),
            _figure("points", "Points", int(analysis.complete.sum())),
            _figure("center", unit("Centre"), limits and limits.center, Form.MEASURE),
            _figure("lower", unit("Lower limit"), limits and limits.lower, Form.MEASURE),
            _figure("upper", unit("Upper limit"), limits and limits.upper, Form.MEASURE),
            _figure(
                "sigma_within",
                unit("Sigma within"),
                analysis.sigma_within,
                Form.MEASURE,
            ),
            _figure("signals", "Signals", len(analysis.signals), tone=TONES[stability]),
            *_capability(analysis),
        ]

    def _trace(self, analysis: Analysis, panel: Panel) -> Trace:
        limits = panel.limits()
        lines = {} if limits is None else {
            "LCL": limits.lower, "CL": limits.center, "UCL": limits.upper,
        }  # fmt: skip
        return Trace(
            title=self._with_unit(panel.label),
            # NaN, the only value that differs from itself, is a missing point.
            values=[None if v != v else v for v in panel.values.tolist()],  # noqa: PLR0124
            flagged=frozenset(analysis.signals.points_of(panel.name).tolist()),
            lines=lines,
            phase1_points=self._sheet.phase1_points or 0,
        )

    def _with_unit(self, title: str) -> str:
        return f"{title} ({self._sheet.unit})" if self._sheet.unit else title


def _figure(
    name: str,
    title: str,
    value: float | str | None,
    form: Form = Form.COUNT,
    tone: Tone = Tone.ACCENT,
) -> Figure:
    return Figure(name=name, title=title, value=value, form=form, tone=tone)


def _capability(analysis: Analysis) -> list[Figure]:
    capability = analysis.capability
    if capability is None:
        return []
    indices = {name: getattr(capability, name) for name in ("cp", "cpk", "pp", "ppk")}
    return [
        _figure(name, name.capitalize(), index.value, Form.INDEX)
        for name, index in indices.items()
        if index is not None
    ] + [
        _figure("capability", "Capability", capability.verdict.value.replace("_", " "), Form.TEXT)
    ]


def _signals(analysis: Analysis) -> list[MadeTable]:
    shown = analysis.signals.first(SIGNALS_SHOWN)
    if not shown:
        return []
    complete = len(shown) == len(analysis.signals)
    title = "Signals" if complete else f"The first {len(shown)} signals"
    rows = [(s.point, s.start, s.chart, str(s.rule)) for s in shown]
    return [MadeTable(name="signals", title=title, columns=SIGNALS, rows=rows)]
