"""The switching rules of MIL-STD-105E (4.7, 4.8) as a state machine without side effects."""

from dataclasses import dataclass, replace
from enum import StrEnum

from lineshaft_contracts.sampling import Severity, StandardPlan

TIGHTEN_REJECTED, TIGHTEN_LOTS = 2, 5
"""Two of five or fewer consecutive lots that are not accepted lead to tightened inspection."""
RELAX_LOTS = 5
"""So many accepted lots in a row lead back to normal inspection."""
REDUCE_LOTS = 10
"""So many accepted lots in a row may lead to reduced inspection."""


class Outcome(StrEnum):
    """What original inspection of a lot gave."""

    ACCEPTED = "accepted"
    ACCEPTED_ABOVE = "accepted_above"
    """Accepted with more than the acceptance number, which only reduced inspection knows."""
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """The lot could not be judged: no good news, and no rejection either."""


@dataclass(frozen=True, kw_only=True)
class State:
    """How lots are inspected now, and what counts for a switch."""

    severity: Severity
    recent: tuple[bool, ...] = ()
    """Normal: whether each of the last five lots was accepted."""
    found: tuple[int, ...] = ()
    """Normal: nonconforming units in the samples of the accepted lots in a row, up to ten."""
    accepted: int = 0
    """Tightened: accepted lots in a row."""
    rejected: int = 0
    """Tightened: lots not accepted since it began."""
    discontinued: bool = False


def begin(rules: StandardPlan) -> State:
    """Start with the severity that was agreed."""
    return State(severity=rules.severity)


def after(state: State, outcome: Outcome, nonconforming: int, rules: StandardPlan) -> State:
    """Return the state for the next lot; lots that were submitted again must not be given."""
    if state.discontinued:
        return state
    match state.severity:
        case Severity.NORMAL:
            return _after_normal(state, outcome, nonconforming, rules)
        case Severity.TIGHTENED:
            return _after_tightened(state, outcome, rules)
        case Severity.REDUCED:
            return state if outcome is Outcome.ACCEPTED else State(severity=Severity.NORMAL)


def _after_normal(
    state: State, outcome: Outcome, nonconforming: int, rules: StandardPlan
) -> State:
    if outcome is Outcome.UNKNOWN:
        return replace(state, found=())
    accepted = outcome is not Outcome.REJECTED
    recent = (*state.recent, accepted)[-TIGHTEN_LOTS:]
    if recent.count(False) >= TIGHTEN_REJECTED:
        return State(severity=Severity.TIGHTENED)
    found = (*state.found, nonconforming)[-REDUCE_LOTS:] if accepted else ()
    limit = rules.reduced_limit
    if limit is not None and len(found) == REDUCE_LOTS and sum(found) <= limit:
        return State(severity=Severity.REDUCED)
    return replace(state, recent=recent, found=found)


def _after_tightened(state: State, outcome: Outcome, rules: StandardPlan) -> State:
    match outcome:
        case Outcome.UNKNOWN:
            return replace(state, accepted=0)
        case Outcome.REJECTED:
            rejected = state.rejected + 1
            ended = rejected >= rules.discontinue_after
            return replace(state, accepted=0, rejected=rejected, discontinued=ended)
        case Outcome.ACCEPTED | Outcome.ACCEPTED_ABOVE:
            accepted = state.accepted + 1
            if accepted >= RELAX_LOTS:
                return State(severity=Severity.NORMAL)
            return replace(state, accepted=accepted)
