"""Operating characteristics as SVG."""

from collections.abc import Mapping
from pathlib import Path

from lineshaft_contracts.sampling import AcceptancePoint, Distribution, SamplingPlan
from matplotlib.ticker import PercentFormatter

from lineshaft_job_runner.types.quality.artifacts import figure_at


def draw(
    curves: Mapping[SamplingPlan, tuple[AcceptancePoint, ...]],
    distribution: Distribution,
    title: str,
    path: Path,
) -> None:
    """Write the probability of acceptance over the quality of the lot, for each plan."""
    with figure_at(path, title, height_inches=5.0) as figure:
        axes = figure.subplots()
        for plan, points in curves.items():
            name = f"{plan.severity}: " if plan.severity else ""
            numbers = f"accept {plan.acceptance_number}, reject {plan.rejection_number}"
            label = f"{name}n {plan.sample_size}, {numbers}"
            axes.plot(
                [point.quality for point in points],
                [point.acceptance for point in points],
                label=label,
            )
        axes.set_title(title, parse_math=False)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        axes.set_ylabel("Probability of acceptance")
        if distribution is Distribution.POISSON:
            axes.set_xlabel("Nonconformities per unit")
        else:
            axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
            axes.set_xlabel("Nonconforming units in the lot")
        if curves:
            axes.legend(frameon=False)
