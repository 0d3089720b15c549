"""quality.analyze: one job type, four analyses, told apart by `analysis`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, RootModel, Tag, model_validator

from lineshaft_contracts.gage import GageParameters, GageResult
from lineshaft_contracts.pareto import ParetoParameters, ParetoResult
from lineshaft_contracts.sampling import SamplingParameters, SamplingResult
from lineshaft_contracts.spc import ChartParameters, ChartResult

CHART = "chart"
_PARAMETERS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        CHART: ChartParameters,
        "gage-rr": GageParameters,
        "sampling": SamplingParameters,
        "pareto": ParetoParameters,
    }
)


def _analysis(given: Any) -> Any:
    """Tell which analysis is asked for; a control chart when nothing is said."""
    if isinstance(given, Mapping):
        fields: Mapping[str, Any] = given  # pyright: ignore[reportUnknownVariableType]
        return fields.get("analysis", CHART)
    return getattr(given, "analysis", None)


_BY_ANALYSIS = Discriminator(
    _analysis,
    custom_error_type="analysis_unknown",
    custom_error_message=f"analysis must be one of: {', '.join(_PARAMETERS)}",
)


class QualityParameters(
    RootModel[
        Annotated[
            Annotated[ChartParameters, Tag("chart")]
            | Annotated[GageParameters, Tag("gage-rr")]
            | Annotated[SamplingParameters, Tag("sampling")]
            | Annotated[ParetoParameters, Tag("pareto")],
            _BY_ANALYSIS,
        ]
    ]
):
    """A control chart (the default), a gage study, acceptance sampling or a Pareto analysis."""

    @model_validator(mode="before")
    @classmethod
    def _read_the_chosen_one(cls, given: Any) -> Any:
        # Errors then point at the field itself, without the name of the analysis before it.
        model = _PARAMETERS.get(str(_analysis(given)))
        if model is None or not isinstance(given, Mapping):
            return given  # pyright: ignore[reportUnknownVariableType]
        return model.model_validate(given)


class QualityResult(
    RootModel[
        Annotated[
            Annotated[ChartResult, Tag("chart")]
            | Annotated[GageResult, Tag("gage-rr")]
            | Annotated[SamplingResult, Tag("sampling")]
            | Annotated[ParetoResult, Tag("pareto")],
            _BY_ANALYSIS,
        ]
    ]
):
    """What the chosen analysis found."""
