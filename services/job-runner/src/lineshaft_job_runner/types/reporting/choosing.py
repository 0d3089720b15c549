"""Finds the template of a request."""

from lineshaft_contracts.reports import ReportTemplate

from lineshaft_job_runner.types.reporting.template import Template
from lineshaft_job_runner.types.reporting.templates.downtime import Downtime
from lineshaft_job_runner.types.reporting.templates.oee import Oee
from lineshaft_job_runner.types.reporting.templates.production_by_order import ProductionByOrder
from lineshaft_job_runner.types.reporting.templates.scrap_pareto import ScrapPareto
from lineshaft_job_runner.types.reporting.templates.shift_report import ShiftReport


def template_class(name: ReportTemplate) -> type[Template]:
    """Return the class of a template."""
    match name:
        case ReportTemplate.SHIFT_REPORT:
            return ShiftReport
        case ReportTemplate.OEE:
            return Oee
        case ReportTemplate.DOWNTIME:
            return Downtime
        case ReportTemplate.PRODUCTION_BY_ORDER:
            return ProductionByOrder
        case ReportTemplate.SCRAP_PARETO:
            return ScrapPareto
        case ReportTemplate.SPC_SHEET:
            # numpy and scipy, which no other template needs.
            from lineshaft_job_runner.types.reporting.templates.spc_sheet import (  # noqa: PLC0415
                SpcSheetTemplate,
            )

            return SpcSheetTemplate
