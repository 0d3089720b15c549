"""Parameters and result of the analysis `sampling` of quality.analyze: lots by attributes."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
    Title,
)

AQLS = (
    0.01, 0.015, 0.025, 0.04, 0.065, 0.1, 0.15, 0.25, 0.4, 0.65, 1.0, 1.5, 2.5,
    4.0, 6.5, 10.0, 15.0, 25.0, 40.0, 65.0, 100.0, 150.0, 250.0, 400.0, 650.0, 1000.0,
)  # fmt: skip
"""The preferred acceptable quality levels of MIL-STD-105E, per cent or per hundred units."""
UNITS_MAX = 1_000_000_000


def _preferred(aql: float) -> float:
    if aql not in AQLS:
        raise ValueError(f"choose one of {', '.join(f'{one:g}' for one in AQLS)}")
    return aql


Units = Annotated[int, Field(ge=0, le=UNITS_MAX)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InspectionLevel(StrEnum):
    """How much is inspected for the size of the lot; II when nothing else is agreed."""

    S_1 = "S-1"
    S_2 = "S-2"
    S_3 = "S-3"
    S_4 = "S-4"
    I = "I"  # noqa: E741 - it is called so.
    II = "II"
    III = "III"


class Severity(StrEnum):
    """Which of the three tables."""

    NORMAL = "normal"
    TIGHTENED = "tightened"
    REDUCED = "reduced"


class StandardPlan(_Strict):
    """A single sampling plan of MIL-STD-105E; lots switch between the severities."""

    aql: Annotated[float, AfterValidator(_preferred), Field(examples=list(AQLS))]
    """Acceptable quality level: per cent nonconforming; above 10, per hundred units."""
    level: InspectionLevel = InspectionLevel.II
    severity: Severity = Severity.NORMAL
    """With which inspection starts."""
    reduced_limit: Units | None = None
    """Limit number (table VIII) for the samples of ten lots; null: never reduced."""
    discontinue_after: Annotated[int, Field(ge=1, le=100)] = 5
    """Lots not accepted on tightened inspection after which inspection is discontinued."""


class Risks(_Strict):
    """What a plan of one's own must do; the smallest sample that does is found."""

    producer_quality: Fraction
    """Fraction nonconforming that is to be accepted."""
    producer_risk: Fraction = 0.05
    """Probability that it is rejected all the same, at most."""
    consumer_quality: Fraction
    """Fraction nonconforming that is to be rejected."""
    consumer_risk: Fraction = 0.10
    """Probability that it is accepted all the same, at most."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.producer_quality >= self.consumer_quality:
            raise ValueError("producer_quality must be below consumer_quality")
        if self.producer_risk + self.consumer_risk >= 1:
            raise ValueError("the risks must be below 1 together")
        return self


class GivenPlan(_Strict):
    """A plan that was agreed otherwise."""

    sample_size: Annotated[int, Field(ge=1, le=1_000_000)]
    acceptance_number: Annotated[int, Field(ge=0, le=1_000_000)]
    """Accept with so many nonconforming units in the sample, or fewer; else reject."""


class Distribution(StrEnum):
    """Of the nonconforming units in a sample."""

    BINOMIAL = "binomial"
    HYPERGEOMETRIC = "hypergeometric"
    POISSON = "poisson"


class LotQuery(SourceQuery):
    """Where inspected lots come from: one row per lot, in the order of inspection."""

    lot_column: Name = "lot"
    lot_size_column: Name = "lot_size"
    """Units in the lot, as integer."""
    inspected_column: Name = "inspected"
    """Units inspected, as integer; NULL is not known."""
    nonconforming_column: Name = "nonconforming"
    """Nonconforming among them, as integer; NULL is not known."""
    resubmitted_column: Name | None = None
    """Boolean: the lot was rejected before; such lots do not count for switching."""


class InspectedLot(_Strict):
    """What was found in the sample of a lot; null is not known."""

    lot: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    lot_size: Annotated[Units, Field(ge=1)] | None
    inspected: Units | None
    nonconforming: Units | None
    resubmitted: bool = False


class SamplingParameters(JobParameters):
    """Find a single sampling plan, show what it does, and judge lots by it."""

    analysis: Literal["sampling"]
    standard: StandardPlan | None = None
    risks: Risks | None = None
    plan: GivenPlan | None = None
    lot_size: Annotated[Units, Field(ge=1)] | None = None
    """Units in the lot that the plan is for; standard needs it when no lots are given."""
    lots_query: LotQuery | None = None
    """Judge the lots of a data source."""
    lots: Annotated[tuple[InspectedLot, ...], Field(min_length=1, max_length=5_000)] | None = None
    """Or give them here, in the order of inspection."""
    distribution: Distribution | None = None
    """null: binomial, for an aql above 10 poisson; hypergeometric needs lot_size."""
    title: Title = "Operating characteristic"
    """Headline of the chart."""
    file_name: FileStem = "sampling"
    """Name of the artifacts without suffix."""

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        plans = [name for name in ("standard", "risks", "plan") if getattr(self, name)]
        if len(plans) != 1:
            raise ValueError("give exactly one of standard, risks and plan")
        if self.lots is not None and self.lots_query is not None:
            raise ValueError("give lots or lots_query, not both")
        has_lots = self.lots is not None or self.lots_query is not None
        if self.lot_size is None and self.standard is not None and not has_lots:
            raise ValueError("standard needs a lot_size or lots")
        counts_units = self.distribution is not Distribution.POISSON
        if (
            self.plan is not None
            and counts_units
            and self.plan.acceptance_number >= self.plan.sample_size
        ):
            raise ValueError("a plan that accepts any sample is none, unless for poisson")
        if self.distribution is Distribution.HYPERGEOMETRIC and self.lot_size is None:
            raise ValueError("hypergeometric needs a lot_size")
        if (
            self.risks is not None
            and self.distribution is Distribution.HYPERGEOMETRIC
            and self.risks.producer_quality * (self.lot_size or 0) < 1
        ):
            raise ValueError("producer_quality is less than one unit of the lot")
        return self


class SamplingPlan(Value):
    """Inspect sample_size units; accept up to acceptance_number, reject from rejection_number."""

    severity: Severity | None = None
    code_letter: str | None = None
    """Of the lot size and level."""
    plan_letter: str | None = None
    """Of the plan that the arrows of the table lead to."""
    sample_size: int
    acceptance_number: int
    rejection_number: int
    inspect_all: bool = False
    """The sample is the whole lot."""


class AcceptancePoint(Value):
    """One point of the operating characteristic."""

    quality: float
    """Fraction nonconforming; poisson: nonconformities per unit."""
    acceptance: float
    """Probability that such a lot is accepted, 0 to 1."""


class LotVerdict(StrEnum):
    """What happens with a lot; only accepted lots are accepted."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    INSUFFICIENT_DATA = "insufficient_data"
    INSPECTION_DISCONTINUED = "inspection_discontinued"


class JudgedLot(Value):
    """A lot, the plan that it was judged by, and the severity for the lot after it."""

    lot: str
    verdict: LotVerdict
    reason: str
    severity: Severity | None = None
    severity_next: Severity | None = None
    sample_size: int | None = None
    acceptance_number: int | None = None
    rejection_number: int | None = None


class SamplingResult(JobResult):
    """Plans, what they do, and the lots that were judged by them."""

    analysis: Literal["sampling"] = "sampling"
    plans: Annotated[tuple[SamplingPlan, ...], Field(max_length=3)] = ()
    """For lot_size: the one plan, or those of the three severities."""
    distribution: Distribution
    characteristic: Annotated[tuple[AcceptancePoint, ...], Field(max_length=50)] = ()
    """Of the first plan; the JSON artifact has every plan and more points."""
    quality_accepted: float | None = None
    """The quality that the first plan accepts with a probability of 95 %."""
    quality_indifferent: float | None = None
    """50 %."""
    quality_rejected: float | None = None
    """10 %."""
    lots_accepted: int = 0
    lots_rejected: int = 0
    lots_undecided: int = 0
    """insufficient_data or inspection_discontinued: not accepted."""
    lots: Annotated[tuple[JudgedLot, ...], Field(max_length=50)] = ()
    """The last ones; the JSON artifact has all."""
    severity_next: Severity | None = None
    discontinued: bool = False
    """Too many lots were not accepted on tightened inspection: improve before going on."""
