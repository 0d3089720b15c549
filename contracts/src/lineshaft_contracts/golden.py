"""Golden messages: a minimal, a full and some invalid ones of each type, kept once written."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.registry import Contract, Kind, read
from lineshaft_contracts.schemas import WithoutTitles

ID = "01998f0a-5e80-7c3a-9d2e-1f3b5a7c9e01"
MOMENT = "2026-03-02T06:15:00Z"
WORDS: dict[str, Any] = {
    "action": "set_limit",
    "actor": "1f3b5a7c9e01",
    "alert_id": "QA-0031",
    "below": "/acme/north/stamping",
    "characteristic": "piston-ring-diameter",
    "code": "material_missing",
    "cursor": "MDE5OThmMGE",
    "next_cursor": "MDE5OThmMGE",
    "condition_name": "diameter-out-of-limits",
    "defect_code": "diameter",
    "cron": "0 6 * * 1-5",
    "ends_at": "2026-12-31T23:00:00Z",
    "ended_before": "2026-03-02T14:15:00Z",
    "error_code": "source_unavailable",
    "equipment": "/acme/north/stamping/line-1/press-1",
    "idempotency_key": "JO-2026-0412/report",
    "job_order_id": "JO-2026-0412",
    "job_type": "report.generate",
    "last_run_at": "2026-03-02T06:20:00Z",
    "limit_key": "press-1",
    "material_definition_id": "piston-ring-74",
    "material_lot_id": "LOT-0007",
    "nonconformance_id": "NC-0012",
    "note": "One tool for two presses",
    "operations_request_id": "SO-88121",
    "operations_segment_id": "20-press",
    "order_key": "line-1",
    "personnel_id": "op-17",
    "reason": "The source is back",
    "reason_code": "tool-broken",
    "region": "eu-west",
    "storage_location": "store-a",
    "tenant": "acme",
    "timezone": "Europe/Berlin",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "unique_key": "shift-report-early",
    "uom": "pcs",
    "version": "0.1.0",
    "worker": "label-printer-1",
    "zone": "Europe/Berlin",
}
"""Sensible values by the name of the field."""

QUANTITIES = {
    "measurement": ("74.002", "mm"),
    "lower_limit": ("73.970", "mm"),
    "upper_limit": ("74.030", "mm"),
    "limit": ("74.030", "mm"),
    "scrap": ("3", "pcs"),
    "rework": ("1", "pcs"),
    "quantity_change": ("-2", "pcs"),
    "quantity_on_hand": ("18", "pcs"),
    "quantity_minimum": ("50", "pcs"),
}
"""Sensible amounts; 120 pieces otherwise."""

NUMBERS = {
    "hit_ratio": 0.93,
    "percent_complete": 62.5,
    "ratio": 0.93,
    "severity": 500,
    "success_rate": 0.98,
}
"""Sensible numbers; 12 or 12.5 otherwise."""

KEYS = {
    "by_type": "report.generate",
    "checks": "rabbitmq",
    "counts": "succeeded",
    "errors": "timeout",
    "labels": "service",
    "windows": "5m",
}
"""Sensible keys of objects whose keys are data."""

MODELS: dict[str, dict[str, Any]] = {
    "DeleteJobLimit": {"name": "press-1"},
    "DeleteJobSchedule": {"name": "shift-report"},
    "Explanation": {"code": "concurrency", "message": "4 of 4 run under the limit press-1"},
    "JobExplained": {"state": "queued"},
    "JobLimit": {"running_max": 4},
    "JobLimitDeleted": {"name": "press-1"},
    "JobLimitView": {"name": "press-1", "every_tenant": False},
    "JobSchedule": {"cron": "0 6 * * 1-5"},
    "JobScheduleDeleted": {"name": "shift-report"},
    "JobScheduleView": {"name": "shift-report"},
    "ListJobFires": {"name": "shift-report"},
    "OfferedType": {"name": "acme.print-labels", "title": "Print labels"},
    "SetJobLimit": {"name": "press-1", "every_tenant": False},
    "SetJobSchedule": {"name": "shift-report"},
    "ReplayStart": {"offset": 120_450},
    "SinkCredential": {"secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]},
    "Subscription": {"protocol": "HTTP", "sink": "https://hooks.example.com/plant"},
}
"""Values of fields, by the model, that no example of it goes without."""

WHEN_FULL: dict[str, dict[str, Any]] = {
    "JobLimit": {"paused": False},
    "JobSchedule": {
        "parameters": {"source": "mes"},
        "every_seconds": None,
        "starts_at": "2026-03-01T23:00:00Z",
        "paused": False,
    },
    "JobScheduleView": {"next_fire_at": "2026-03-03T05:00:00Z"},
    "ListJobSchedules": {"name": "shift-report"},
    "OfferedType": {
        "parameters_schema": {"type": "object", "required": ["material_lot_id"]},
        "result_schema": {"type": "object"},
        "example": {"material_lot_id": "LOT-0007"},
    },
    "Redrive": {"states": ["failed", "quarantined"]},
    "ReplayStart": {"time": None, "event_id": None},
    "Subscription": {
        "filters": [{"exact": {"priority": "critical"}}],
        "topics": ["acme.north.#"],
        "types": ["plant.production.unit-produced.v1"],
    },
}
"""Values by the model that only a full example has; None for what contradicts another field."""


def valid(contract: Contract, *, full: bool) -> dict[str, Any]:
    """Propose a message of the type, with all optional fields or with none."""
    plant = contract.external
    source = "/acme/north/stamping/line-1/press-1" if plant else f"/services/{_sender(contract)}"
    message: dict[str, Any] = {"specversion": "1.0", "id": ID, "source": source}
    message |= {"type": contract.type, "time": MOMENT, "tenant": "acme"}
    if full:
        message |= {
            "subject": "JO-2026-0412",
            "datacontenttype": "application/json",
            "priority": "high",
            "partitionkey": "JO-2026-0412",
            "sequence": "000000017",
            "expirytime": "2026-03-02T07:15:00Z",
            "correlationid": "01998f0a-5e80-7c3a-9d2e-1f3b5a7c9e00",
            "causationid": "01998f0a-5e80-7c3a-9d2e-1f3b5a7c9e00",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate": "lineshaft=1",
        }
    schema = contract.model.model_json_schema(schema_generator=WithoutTitles)
    return {**message, "data": _Sampler(schema, full=full).sample(schema, "data")}


def invalid(contract: Contract) -> dict[str, dict[str, Any]]:
    """Propose messages of the type that must be refused, by what is wrong with them."""
    good = valid(contract, full=False)
    schema = contract.model.model_json_schema(schema_generator=WithoutTitles)
    proposed: dict[str, dict[str, Any]] = {"data-is-no-object": {**good, "data": "text"}}
    for name in schema.get("required", [])[:1]:
        rest = {field: value for field, value in good["data"].items() if field != name}
        proposed[f"without-{name.replace('_', '-')}"] = {**good, "data": rest}
    for name in schema.get("properties", {}):
        wrong = {**good, "data": {**good["data"], name: [{"no": "such thing"}]}}
        if not accepted(contract, wrong):
            proposed[f"wrong-{name.replace('_', '-')}"] = wrong
            break
    if contract.external:
        data = {**good["data"], "job_oder_id": "JO-1"}
        proposed["with-misspelt-field"] = {**good, "data": data}
        proposed["of-another-tenant"] = {**good, "tenant": "other"}
    return proposed


def accepted(contract: Contract, message: dict[str, Any]) -> bool:
    """Tell whether the door (for plant events) or a consumer takes the message."""
    body = json.dumps(message).encode()
    try:
        if contract.external:
            validate_plant_event(body)
        read(contract.type, body)
    except (ProblemError, ValidationError):
        return False
    return True


def _sender(contract: Contract) -> str:
    asked = contract.kind in (Kind.COMMAND, Kind.QUERY)
    return "gateway" if asked or contract.owner == "any" else contract.owner


class _Sampler:
    """Makes a value that a JSON Schema accepts."""

    def __init__(self, root: dict[str, Any], *, full: bool) -> None:
        self._definitions: dict[str, Any] = root.get("$defs", {})
        self._full = full
        self._depth = 0

    def sample(self, schema: Any, name: str) -> Any:
        """Return a value for the field `name`."""
        if schema is True:
            return "any"
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].removeprefix("#/$defs/")]
        for composed in ("anyOf", "oneOf", "allOf"):
            if composed in schema:
                return self.sample(schema[composed][0], name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        samplers: dict[str, Callable[[dict[str, Any], str], Any]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._number,
            "number": self._number,
            "boolean": lambda _schema, _name: True,
            "null": lambda _schema, _name: None,
        }
        return samplers.get(schema.get("type", ""), self._string)(schema, name)

    def _object(self, schema: dict[str, Any], name: str) -> dict[str, Any]:
        if "properties" not in schema:
            values: Any = schema.get("additionalProperties")
            key = KEYS.get(name, "total")
            return {key: self.sample(values, key)} if self._full and values else {}
        if schema.get("title") == "Quantity":
            value, uom = QUANTITIES.get(name, ("120", "pcs"))
            return {"value": value, "uom": uom}
        return dict(self._fields(schema))

    def _fields(self, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        self._depth += 1
        required = schema.get("required", [])
        model = schema.get("title", "")
        given = MODELS.get(model, {}) | (WHEN_FULL.get(model, {}) if self._full else {})
        for name, field in schema["properties"].items():
            if name in given:
                if given[name] is not None:
                    yield name, given[name]
            elif name in required or (self._full and self._depth < DEPTH_MAX):
                yield name, self.sample(field, name)
        self._depth -= 1

    def _array(self, schema: dict[str, Any], name: str) -> list[Any]:
        if "prefixItems" in schema:
            return [self.sample(item, name) for item in schema["prefixItems"]]
        some = max(schema.get("minItems", 0), int(self._full and self._depth < DEPTH_MAX))
        return [self.sample(schema.get("items", {}), name.removesuffix("s"))] * some

    @staticmethod
    def _number(schema: dict[str, Any], name: str) -> int | float:
        above = schema.get("exclusiveMinimum")
        lowest = schema.get("minimum", 0 if above is None else above + 1)
        usual = NUMBERS.get(name, 12 if schema["type"] == "integer" else 12.5)
        highest = schema.get("maximum", schema.get("exclusiveMaximum", usual + 1) - 1)
        return max(lowest, min(usual, highest))

    @staticmethod
    def _string(schema: dict[str, Any], name: str) -> str:
        formats = {
            "date-time": WORDS.get(name, MOMENT),
            "uuid": ID,
            "date": "2026-03-02",
            "time": "06:00:00",
        }
        if schema.get("format") in formats:
            return formats[schema["format"]]
        for word in (name, name.removeprefix("from_"), name.removeprefix("to_")):
            if word in WORDS:
                return str(WORDS[word])
        return name.replace("_", "-")


DEPTH_MAX = 6
"""Optional fields deeper than this are left out, so that recursive models end."""
