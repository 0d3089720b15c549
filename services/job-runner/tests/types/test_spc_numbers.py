"""Charts, rules and capability agree with published and independently computed numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.capability import Specification
from lineshaft_contracts.spc import ChartKind, Rule, Stability
from lineshaft_job_runner.types.spc import rules
from lineshaft_job_runner.types.spc.capability import anderson_darling, assess
from lineshaft_job_runner.types.spc.charts import (
    ControlLimits,
    accurate_deviation,
    accurate_mean,
    estimate,
    plot,
)
from lineshaft_job_runner.types.spc.constants import c4, d2, d3
from lineshaft_job_runner.types.spc.panels import Array
from scipy import stats

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[5] / "shared" / "references" / "domain-data"
TABLED = 5e-5
"""qcc 2.7 and NIST round d2 to three decimals: 2.326 for d2(5) = 2.3259289, which is 3e-5."""


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


RINGS: Array = np.array(load("piston_rings.json")["subgroups"])
QCC = load("expected_qcc.json")
STREAM = load("nelson_rules.json")
TRIAL = np.arange(40) < 25


def limits_of(kind: ChartKind) -> ControlLimits:
    return estimate(plot(RINGS, kind), kind, TRIAL)


def individuals(data: list[float]) -> ControlLimits:
    values = np.array(data)[:, None]
    return estimate(plot(values, ChartKind.I_MR), ChartKind.I_MR, np.ones(len(data), dtype=bool))


def test_constants_equal_the_tables_of_montgomery() -> None:
    # Appendix VI: d2, d3 (three decimals) and c4 (four).
    assert [round(d2(size), 3) for size in (2, 3, 5, 10, 25)] == [
        1.128,
        1.693,
        2.326,
        3.078,
        3.931,
    ]
    assert [round(d3(size), 3) for size in (2, 3, 5, 10, 25)] == [
        0.853,
        0.888,
        0.864,
        0.797,
        0.708,
    ]
    assert [round(c4(size), 4) for size in (2, 3, 5, 10, 25)] == [
        0.7979, 0.8862, 0.9400, 0.9727, 0.9896,
    ]  # fmt: skip
    assert d2(2) == pytest.approx(2 / np.sqrt(np.pi), abs=1e-12)


def test_mean_and_range_limits_of_the_piston_rings() -> None:
    limits = limits_of(ChartKind.XBAR_R)
    assert limits.center == pytest.approx(74.001176, abs=1e-12)
    assert limits.lower == pytest.approx(73.98804759195622, abs=1e-10)
    assert limits.upper == pytest.approx(74.01430440804378, abs=1e-10)
    assert limits.dispersion_center == pytest.approx(0.02276, abs=1e-12)
    assert limits.dispersion_upper == pytest.approx(0.04812600054237, abs=1e-12)
    assert limits.dispersion_lower == 0
    expected = QCC["pistonrings_phase1_25x5"]["xbar_R"]
    assert limits.lower == pytest.approx(expected["lcl"], abs=2e-5)
    assert limits.upper == pytest.approx(expected["ucl"], abs=2e-5)
    assert limits.sigma_within == pytest.approx(expected["sigma_within_Rbar_d2"], rel=TABLED)


def test_mean_and_deviation_limits_of_the_piston_rings() -> None:
    limits = limits_of(ChartKind.XBAR_S)
    expected = QCC["pistonrings_phase1_25x5"]
    assert limits.sigma_within == pytest.approx(expected["xbar_S"]["sigma_within"], rel=1e-11)
    assert limits.lower == pytest.approx(expected["xbar_S"]["lcl"], abs=1e-10)
    assert limits.upper == pytest.approx(expected["xbar_S"]["ucl"], abs=1e-10)
    assert limits.dispersion_center == pytest.approx(expected["S"]["center"], rel=1e-11)
    assert limits.dispersion_upper == pytest.approx(expected["S"]["ucl"], rel=1e-10)


def test_phase_two_of_the_piston_rings_leaves_the_frozen_limits() -> None:
    limits = limits_of(ChartKind.XBAR_R)
    z = (plot(RINGS, ChartKind.XBAR_R).location - limits.center) / limits.sigma_location
    assert (rules.beyond(z, 3).points + 1).tolist() == [37, 38, 39]
    run = rules.one_side(z, 7)
    assert (run.points + 1).tolist() == [40]
    assert (run.starts + 1).tolist() == [34]


def test_individuals_of_the_nist_handbook() -> None:
    # NIST/SEMATECH e-Handbook 6.3.2.2 computes with d2 = 1.128 and a moving range to 4 decimals.
    flow = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
    limits = individuals(flow)
    assert limits.center == pytest.approx(50.81, abs=1e-12)
    assert limits.dispersion_center == pytest.approx(1.8778, abs=5e-5)
    reach = 1.128 / d2(2)
    assert limits.center + (limits.upper - limits.center) / reach == pytest.approx(
        55.8041, abs=1e-4
    )
    assert limits.center - (limits.center - limits.lower) / reach == pytest.approx(
        45.8159, abs=1e-4
    )


def test_individuals_of_the_viscosity_data() -> None:
    expected = QCC["viscosity_individuals"]
    limits = individuals(expected["data"])
    assert limits.center == pytest.approx(expected["center"], abs=1e-9)
    assert limits.sigma_within * d2(2) / 1.128 == pytest.approx(expected["sigma_MR"], rel=1e-10)
    # qcc corrects the deviation for its bias.
    corrected = accurate_deviation(np.array(expected["data"])) / c4(15)
    assert corrected == pytest.approx(expected["sd_ddof1_corrected_by_qcc_SD"], rel=1e-11)


@pytest.mark.parametrize(
    ("base", "mean", "digits"),
    [(1.2, 1.2, 14), (1_000_000.2, 1_000_000.2, 9), (10_000_000.2, 10_000_000.2, 8)],
    ids=["NumAcc2", "NumAcc3", "NumAcc4"],
)
def test_deviation_keeps_the_digits_that_the_input_has(
    base: float, mean: float, digits: int
) -> None:
    # NIST StRD: certified deviation 0.1; the naive formula has no correct digit on NumAcc4.
    # As binary numbers the values themselves are good to the stated digits.
    low, high = round(base - 0.1, 1), round(base + 0.1, 1)
    data = np.array([base, *[low, high] * 500])
    assert accurate_mean(data) == pytest.approx(mean, rel=1e-15)
    assert accurate_deviation(data) == pytest.approx(0.1, rel=10**-digits)


def test_the_speed_of_light_keeps_the_certified_digits() -> None:
    # NIST StRD, Michelso: 100 measurements by A. A. Michelson.
    path = SHARED / "nist_strd_univariate.json"
    if not path.exists():
        pytest.skip("the certified data is not on this machine")
    certified = json.loads(path.read_text(encoding="utf-8"))
    for name in ("Michelso", "NumAcc1"):
        data = np.array(certified[name]["data"], dtype=np.float64)
        assert accurate_mean(data) == pytest.approx(certified[name]["mean"], rel=1e-15)
        assert accurate_deviation(data) == pytest.approx(certified[name]["sd"], rel=1e-13)


@pytest.mark.parametrize("number", range(1, 9))
def test_nelson_rules_fire_where_qcc_says(number: int) -> None:
    found = rules.find(Rule(f"nelson-{number}"), np.array(STREAM["data"]))
    assert (found.points + 1).tolist() == STREAM["nelson"][str(number)]


def test_the_western_electric_run_of_eight_fires_where_qcc_says() -> None:
    found = rules.find(Rule.WESTERN_ELECTRIC_4, np.array(STREAM["data"]))
    assert (found.points + 1).tolist() == STREAM["western_electric_4_run8"]


@given(
    values=st.lists(
        st.sampled_from([-3.5, -2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.5]), max_size=60
    )
)
@settings(max_examples=200, deadline=None)
def test_rules_equal_their_definition(values: list[float]) -> None:
    z = np.array(values)

    def at_each(window: int, holds: Any) -> list[int]:
        return [
            end
            for end in range(window - 1, z.size)
            if holds(z[end - window + 1 : end + 1].tolist())
        ]

    def one_side(part: list[float]) -> bool:
        return min(part) > 0 or max(part) < 0

    def rising(part: list[float]) -> bool:
        return bool((np.diff(part) > 0).all() or (np.diff(part) < 0).all())

    def zone(part: list[float], least: int, sigmas: float) -> bool:
        return any(
            part[-1] * side > sigmas and sum(value * side > sigmas for value in part) >= least
            for side in (1, -1)
        )

    def mixed(part: list[float]) -> bool:
        return min(map(abs, part)) > 1 and min(part) < 0 < max(part)

    assert rules.find(Rule.NELSON_2, z).points.tolist() == at_each(9, one_side)
    assert rules.find(Rule.NELSON_3, z).points.tolist() == at_each(6, rising)
    assert rules.find(Rule.NELSON_8, z).points.tolist() == at_each(8, mixed)
    # A zone rule also looks at the first points, where its window is not full yet.
    padded = np.concatenate((np.zeros(4), z))
    for rule, least, window, sigmas in ((Rule.NELSON_5, 2, 3, 2), (Rule.NELSON_6, 4, 5, 1)):
        expected = [
            end
            for end in range(z.size)
            if zone(padded[end + 5 - window : end + 5].tolist(), least, sigmas)
        ]
        assert rules.find(rule, z).points.tolist() == expected


def test_a_missing_point_breaks_every_pattern() -> None:
    z = np.array([0.5] * 8 + [np.nan] + [0.5] * 8)
    assert rules.find(Rule.NELSON_2, z).points.size == 0
    assert rules.find(Rule.NELSON_7, z).points.size == 0


def test_capability_of_the_piston_rings() -> None:
    expected = QCC["pistonrings_phase1_25x5"]
    indices = expected["capability_LSL73.95_USL74.05_target74.0"]
    found = assess(
        RINGS[:25].ravel(),
        sigma_within=limits_of(ChartKind.XBAR_R).sigma_within,
        specification=Specification(lower=73.95, upper=74.05, target=74.0),
        stability=Stability.IN_CONTROL,
        confidence=0.95,
        capability_min=1.33,
    )
    for name in ("Cp", "Cpk", "Cpm"):
        index = getattr(found, name.lower())
        assert [index.value, index.lower, index.upper] == pytest.approx(indices[name], rel=TABLED)
    assert found.cpl is not None
    assert found.cpu is not None
    assert found.cpl.value == pytest.approx(indices["Cpl"], rel=TABLED)
    assert found.cpu.value == pytest.approx(indices["Cpu"], rel=TABLED)
    assert found.sigma_overall == pytest.approx(expected["overall_sigma_ddof1"], rel=1e-12)
    assert found.pp is not None
    assert found.ppk is not None
    assert found.pp.value == pytest.approx(expected["Pp"], rel=1e-12)
    assert found.ppk.value == pytest.approx(expected["Ppk"], rel=1e-11)


def test_capability_off_target_of_the_piston_rings() -> None:
    found = assess(
        RINGS[:25].ravel(),
        sigma_within=limits_of(ChartKind.XBAR_R).sigma_within,
        specification=Specification(lower=73.95, upper=74.05, target=74.02),
        stability=Stability.IN_CONTROL,
        confidence=0.95,
        capability_min=1.33,
    )
    expected = QCC["pistonrings_phase1_25x5"]["capability_target74.02"]["Cpm"]
    assert found.cpm is not None
    assert [found.cpm.value, found.cpm.lower, found.cpm.upper] == pytest.approx(
        expected, rel=TABLED
    )


def test_capability_of_the_nist_handbook() -> None:
    # NIST/SEMATECH e-Handbook 6.1.6: limits 8 and 20, mean 16, sigma 2.
    found = assess(
        np.array([14.0, 16.0, 18.0]),
        sigma_within=2,
        specification=Specification(lower=8, upper=20),
        stability=Stability.IN_CONTROL,
        confidence=0.95,
        capability_min=1.33,
    )
    values = [index.value for index in (found.cp, found.cpu, found.cpl, found.cpk) if index]
    assert values == pytest.approx([1.0, 0.6667, 1.3333, 0.6667], abs=5e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_normality_statistic_equals_scipys(seed: int) -> None:
    values = np.random.default_rng(seed).normal(10, 2, 60 + seed)
    count = values.size
    found = anderson_darling(values)
    # The stubs of scipy spell the method differently from scipy.
    oracle: Any = stats.anderson
    assert found.statistic is not None
    assert found.statistic / (1 + 0.75 / count + 2.25 / count**2) == pytest.approx(
        oracle(values, "norm", method="interpolate").statistic, rel=1e-9
    )
    assert found.normal is True


def test_skewed_values_are_not_normal() -> None:
    found = anderson_darling(np.random.default_rng(3).exponential(size=200))
    assert found.normal is False
    assert found.p_value is not None
    assert found.p_value < 1e-6


def test_seven_values_say_nothing_about_normality() -> None:
    assert anderson_darling(np.arange(7.0)).normal is None
