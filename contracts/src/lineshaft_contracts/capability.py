"""Process capability of quality.analyze: the specification, and indices with their intervals."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from lineshaft_contracts.envelope import Value


class Specification(BaseModel):
    """What the drawing asks for, in the unit of the characteristic."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lower: FiniteFloat | None = None
    """Lower specification limit."""
    upper: FiniteFloat | None = None
    """Upper specification limit."""
    target: FiniteFloat | None = None
    """Nominal value; the middle of the limits when absent."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("a specification needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        return self


class CapabilityVerdict(StrEnum):
    """What may be said about capability; only a stable process has one."""

    CAPABLE = "capable"
    NOT_CAPABLE = "not_capable"
    PROCESS_UNSTABLE = "process_unstable"
    INSUFFICIENT_DATA = "insufficient_data"


class Index(Value):
    """A capability index without unit, and its two-sided confidence interval."""

    value: float
    lower: float | None = None
    upper: float | None = None


class Normality(Value):
    """Anderson-Darling test of the phase I values; estimated mean and deviation."""

    count: int
    statistic: float | None = None
    """A squared, with the small-sample factor of Stephens."""
    p_value: float | None = None
    normal: bool | None = None
    """p_value >= 0.05; None below 8 values, where nothing can be said."""


class Capability(Value):
    """Short-term (within subgroups) and long-term (overall) indices against the specification."""

    verdict: CapabilityVerdict
    sigma_within: float
    sigma_overall: float
    cp: Index | None = None
    cpl: Index | None = None
    cpu: Index | None = None
    cpk: Index | None = None
    cpm: Index | None = None
    pp: Index | None = None
    ppk: Index | None = None
    outside_count: int
    """Phase I values outside of the specification."""
    normality: Normality
