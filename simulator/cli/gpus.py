"""`ponder gpus`: the GPU profiles that come with ponder."""

from __future__ import annotations

from dataclasses import asdict

import click

HEADINGS = {
    "name": "name",
    "aliases": "aliases",
    "memory_gib": "memory GiB",
    "memory_bandwidth_gb_per_s": "GB/s",
    "bf16_tflops": "bf16 TFLOP/s",
    "fp8_tflops": "fp8 TFLOP/s",
    "tdp_w": "TDP W",
    "price_usd_per_gpu_hour": "$/GPU-hour",
    "calibrated": "calibrated",
}


@click.command("gpus")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the GPUs that `gpu:` in an experiment can name.

    Any other GPU can be given by the path of a profile file of the same form.
    """
    from hardware_profiles.profile import list_gpus
    from simulator.cli.catalogue import show

    show([asdict(row) for row in list_gpus()], HEADINGS, as_json)
