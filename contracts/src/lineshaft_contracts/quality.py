"""Events of quality alerts, tests and nonconformances (plant domain `quality`)."""

from typing import Annotated

from pydantic import Field

from lineshaft_contracts.envelope import Moment, Quantity, Value
from lineshaft_contracts.plant import (
    Code,
    Identifier,
    OpenEnum,
    PlantEvent,
    Text,
    plant_event,
)
from lineshaft_contracts.topology import PLANT_QUALITY


class ConditionState(Value):
    """The states of an alarm condition (OPC UA Part 9; ISA-18.2)."""

    active: bool
    acknowledged: bool
    confirmed: bool = False
    shelved: bool = False
    suppressed: bool = False


class QualityAlertEvent(PlantEvent):
    """An event about one quality alert, from raise to clear under one id."""

    alert_id: Identifier
    state: ConditionState | None = None
    """After this event; left out by publishers without an alarm system."""


@plant_event(PLANT_QUALITY, "alert-raised")
class QualityAlertRaised(QualityAlertEvent):
    """Something about the quality needs attention."""

    condition_name: Identifier
    """What kind of trouble, from the publisher's list."""
    severity: Annotated[int, Field(ge=1, le=1000)]
    """As in OPC UA: 1 is the least, 1000 the most severe."""
    message: Text
    characteristic: Identifier | None = None
    measurement: Quantity | None = None
    limit: Quantity | None = None
    """The limit that the measurement broke."""
    job_order_id: Identifier | None = None
    material_lot_id: Identifier | None = None


@plant_event(PLANT_QUALITY, "alert-acknowledged")
class QualityAlertAcknowledged(QualityAlertEvent):
    """Somebody saw the alert and takes care of it."""

    personnel_id: Identifier
    comment: Text | None = None


@plant_event(PLANT_QUALITY, "alert-cleared")
class QualityAlertCleared(QualityAlertEvent):
    """The cause is gone."""

    reason_code: Code | None = None
    comment: Text | None = None
    since: Moment | None = None
    """When it had been raised."""


class TestEvaluation(OpenEnum):
    """What a test result says about the lot."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    UNKNOWN = "unknown"


@plant_event(PLANT_QUALITY, "test-result-recorded")
class TestResultRecorded(PlantEvent):
    """One characteristic was measured or judged (B2MML QATestResult)."""

    test_result_id: Identifier
    test_specification_id: Identifier
    evaluation: TestEvaluation
    characteristic: Identifier | None = None
    measurement: Quantity | None = None
    lower_limit: Quantity | None = None
    upper_limit: Quantity | None = None
    subgroup: Annotated[int, Field(ge=1)] | None = None
    """Number of the rational subgroup, for control charts."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """Place inside the subgroup."""
    job_order_id: Identifier | None = None
    material_lot_id: Identifier | None = None
    personnel_id: Identifier | None = None


class Disposition(OpenEnum):
    """What is done with nonconforming material (ISO 9000)."""

    USE_AS_IS = "use_as_is"
    REWORK = "rework"
    REPAIR = "repair"
    REGRADE = "regrade"
    RETURN = "return"
    SCRAP = "scrap"
    UNKNOWN = "unknown"


@plant_event(PLANT_QUALITY, "nonconformance-opened")
class NonconformanceOpened(PlantEvent):
    """Material does not meet its requirement."""

    nonconformance_id: Identifier
    defect_code: Code
    quantity: Quantity
    description: Text | None = None
    material_definition_id: Identifier | None = None
    material_lot_id: Identifier | None = None
    job_order_id: Identifier | None = None
    alert_id: Identifier | None = None
    """The quality alert that led to it."""


@plant_event(PLANT_QUALITY, "nonconformance-closed")
class NonconformanceClosed(PlantEvent):
    """It is decided what becomes of the material."""

    nonconformance_id: Identifier
    disposition: Disposition
    personnel_id: Identifier | None = None
    comment: Text | None = None
