"""Alert rules: read from YAML, checked, with errors that name the rule and the field."""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
from lineshaft_contracts.alerts import AlertLevel
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lineshaft_monitor.evaluation import COMPARISONS, Condition, Threshold

PACKAGED = Path(__file__).with_name("rules.yaml")
RULES_MAX = 1_000
STALE_SUFFIX = "-stale"

Level = Literal["info", "warning", "error", "critical"]


class RulesError(SystemExit):
    """The rules file cannot be used; the message names each rule and field."""


class _Part(BaseModel):
    """A part of the rules file, which may hold nothing that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LevelThreshold(_Part):
    """Where a level begins and where it ends; the same value when only one is given."""

    raise_at: Annotated[float, Field(allow_inf_nan=False)]
    clear_at: Annotated[float, Field(allow_inf_nan=False)]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, int | float) and not isinstance(given, bool):
            return {"raise_at": given, "clear_at": given}
        if isinstance(given, Mapping):
            fields = cast("Mapping[Any, Any]", given)
            return {"clear_at": fields.get("raise_at"), **fields}
        return given


class Stale(_Part):
    """Alert when a series that was there is not collected any more."""

    after_seconds: Annotated[float, Field(gt=0)]
    level: Level = "warning"


class Rule(_Part):
    """One metric, compared at up to four levels; every series of it has an alert of its own."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    metric: Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
    labels: dict[str, str] = Field(default_factory=dict)
    """A series must have all of these."""
    without: dict[str, str] = Field(default_factory=dict)
    """A series that has any of these is left out."""
    comparison: Literal[">", ">=", "<", "<="] = ">="
    levels: Annotated[dict[Level, LevelThreshold], Field(min_length=1)]
    for_seconds: Annotated[float, Field(ge=0, le=604_800)] = 0.0
    recover_seconds: Annotated[float, Field(ge=0, le=604_800)] = 0.0
    rate: bool = False
    """Compare the growth per second of a counter instead of its value."""
    unit: Literal["", "ratio", "bytes", "seconds"] = ""
    """How summaries write the value."""
    stale: Stale | None = None
    summary: Annotated[str, Field(min_length=1, max_length=500)]
    """`{label}`, `{value}` and `{level}` are filled in."""

    @model_validator(mode="after")
    def _orderly(self) -> Self:
        worse = COMPARISONS[">=" if self.comparison.startswith(">") else "<="]
        previous: Threshold | None = None
        for threshold in self.condition.thresholds:
            if not worse(threshold.raise_at, threshold.clear_at):
                raise ValueError(f"level {threshold.level}: clear_at is worse than raise_at")
            if previous is not None and not (
                worse(threshold.raise_at, previous.raise_at)
                and worse(threshold.clear_at, previous.clear_at)
            ):
                raise ValueError(f"level {threshold.level} begins before {previous.level}")
            previous = threshold
        return self

    @cached_property
    def condition(self) -> Condition:
        """The thresholds as the evaluation takes them."""
        return Condition(
            comparison=self.comparison,
            thresholds=tuple(
                Threshold(
                    level=AlertLevel(level),
                    raise_at=self.levels[level].raise_at,
                    clear_at=self.levels[level].clear_at,
                )
                for level in sorted(self.levels, key=lambda word: AlertLevel(word).rank)
            ),
            for_seconds=self.for_seconds,
            recover_seconds=self.recover_seconds,
        )

    @cached_property
    def stale_rule(self) -> "Rule | None":
        """The rule about the age of this one's series, in seconds; None when nobody asked."""
        if self.stale is None:
            return None
        return Rule(
            name=self.name[: 64 - len(STALE_SUFFIX)] + STALE_SUFFIX,
            metric=self.metric,
            levels={
                self.stale.level: LevelThreshold(
                    raise_at=self.stale.after_seconds, clear_at=self.stale.after_seconds
                )
            },
            unit="seconds",
            summary=f"{self.metric} has not been collected for {{value}}",
        )

    def applies_to(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of the metric is one that the rule is about."""
        return all(labels.get(k) == v for k, v in self.labels.items()) and not any(
            labels.get(k) == v for k, v in self.without.items()
        )

    def write_summary(
        self, labels: Mapping[str, str], value: float | None, level: AlertLevel
    ) -> str:
        """Fill in the summary; only whole words are replaced, nothing is evaluated."""
        words = {**labels, "value": self._amount(value), "level": level.value}
        return re.sub(r"\{(\w+)\}", lambda match: words.get(match[1], "?"), self.summary)[:1000]

    def _amount(self, value: float | None) -> str:
        if value is None or math.isnan(value):
            return "unknown"
        match self.unit:
            case "ratio":
                return f"{value * 100:.1f} %"
            case "bytes":
                return f"{value / 2**20:,.0f} MiB"
            case "seconds":
                return f"{value:.3g} s"
            case _:
                return f"{value:.6g}"


def load(path: Path | None) -> tuple[Rule, ...]:
    """Read a rules file (the packaged one without a path), or stop naming all that is wrong."""
    path = path or PACKAGED
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise RulesError(f"{path}: {error}") from None
    return parse(document, source=str(path))


def parse(document: Any, *, source: str) -> tuple[Rule, ...]:
    """Check what the YAML said: `{rules: [...]}`."""
    fields = cast("dict[Any, Any]", document) if isinstance(document, dict) else {}
    listed = cast("list[Any]", fields.get("rules"))
    if not isinstance(listed, list) or len(listed) > RULES_MAX:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RulesError(f"{source}: expected `rules:` with a list of at most {RULES_MAX} rules")
    rules: list[Rule] = []
    problems: list[str] = []
    for number, given in enumerate(listed, 1):
        try:
            rules.append(Rule.model_validate(given))
        except ValidationError as error:
            problems += [f"{_title(given, number)}: {_place(e)}" for e in error.errors()]
    names = [rule.name for rule in rules]
    names += [rule.stale_rule.name for rule in rules if rule.stale_rule]
    problems += [f"rule '{n}': name: is there twice" for n in set(names) if names.count(n) > 1]
    if problems:
        raise RulesError(f"{source}:\n" + "\n".join(f"  {problem}" for problem in problems))
    return tuple(rules)


def _title(given: Any, number: int) -> str:
    name = cast("dict[Any, Any]", given).get("name") if isinstance(given, dict) else None
    return f"rule {number}" if name is None else f"rule {name!r}"


def _place(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part != "[key]") or "thresholds"
    return f"{where}: {error['msg']}"
