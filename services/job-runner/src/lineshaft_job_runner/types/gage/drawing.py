"""A gage study as SVG: where the variation comes from, and how the operators measured."""

from pathlib import Path

import numpy as np
from lineshaft_contracts.gage import GageParameters

from lineshaft_job_runner.types.gage.assessment import Assessment
from lineshaft_job_runner.types.gage.study import Study
from lineshaft_job_runner.types.quality.artifacts import figure_at

SHARES = (
    ("% contribution", "contribution_percent"),
    ("% study variation", "study_percent"),
    ("% tolerance", "tolerance_percent"),
)
OPERATORS_DRAWN_MAX = 20
PARTS_NAMED_MAX = 30


def draw(study: Study, found: Assessment, parameters: GageParameters, path: Path) -> None:
    """Write components above, and the mean of each part by operator below."""
    with figure_at(path, parameters.title, height_inches=6.0) as figure:
        upper, lower = figure.subplots(2, 1)
        verdict = found.verdict.value.replace("_", " ")
        upper.set_title(f"{parameters.title}: {verdict}", parse_math=False)
        shown = [one for one in found.components if one.source != "total"]
        places, width = np.arange(len(shown)), 0.27
        for number, (label, field) in enumerate(SHARES):
            shares = [getattr(one, field) for one in shown]
            if shares and shares[0] is not None:
                upper.bar(places + (number - 1) * width, shares, width, label=label)
        if shown:
            upper.legend(frameon=False)
        upper.set_xticks(places, [one.source for one in shown])
        upper.set_ylabel("Per cent")
        parts = np.arange(1, len(study.parts) + 1)
        if study.values.size:
            means = study.values.mean(axis=2)
            for column, operator in enumerate(study.operators[:OPERATORS_DRAWN_MAX]):
                # An underscore in front would hide the line from the legend.
                lower.plot(parts, means[:, column], marker="o", label=operator.lstrip("_"))
            legend = lower.legend(frameon=False, title="Operator")
            for text in legend.get_texts():
                text.set_parse_math(False)
        if 0 < len(parts) <= PARTS_NAMED_MAX:
            lower.set_xticks(parts, study.parts, parse_math=False)
        unit = f" ({parameters.unit})" if parameters.unit else ""
        lower.set_ylabel(f"Mean{unit}", parse_math=False)
        lower.set_xlabel("Part")
