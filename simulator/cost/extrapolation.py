"""Where a run leaves what the GPU's profile was fitted on, in words for its notes."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.cost.iteration_time import IterationCosts
from simulator.cost.uncertainty import UNMEASURED_ERROR


def extrapolation_notes(
    costs: IterationCosts, gpu_name: str, met: Mapping[str, float]
) -> list[str]:
    """One line for each kernel that was used beyond its fitted range, or was never measured.

    `met` are the largest values that the run met of arguments that change from iteration to
    iteration, by the names of a fit's range: "m" and "chunk_tokens" (tokens), "requests",
    "context_tokens" (of one request). A small value is never worth a note: below their fitted range
    kernels take the time of a launch.
    """
    notes = []
    unmeasured = []
    for component in costs.components:
        if component.kind not in ("kernel", "network") or not component.seconds.token.size:
            continue
        if component.fit is None:
            if component.kind == "kernel" or component.seconds.token.any():
                unmeasured.append(component.name)
            continue
        arguments = {**component.shape, **met}
        if component.name.startswith("window"):
            arguments.pop("context_tokens", None)  # they see no more than the window
        for name, (low, high) in component.fit.outside(**arguments).items():
            value = arguments[name]
            if value > high:
                notes.append(
                    f"extrapolated: {component.name} with {name} = {value:,.0f}, fitted on"
                    f" {low:,.0f} to {high:,.0f}"
                )
    if unmeasured:
        notes.append(
            f"not measured on {gpu_name} in this format, taken as ±{UNMEASURED_ERROR:.0%}:"
            f" {', '.join(unmeasured)}"
        )
    return notes
