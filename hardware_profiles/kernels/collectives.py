"""Collectives among the GPUs of one node: latency + bytes / bandwidth, in regimes of size."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import model_validator

from hardware_profiles.kernels.interpolation import FloatArray
from hardware_profiles.quantity import Array, Fitted, of
from hardware_profiles.units import Bandwidths, Times
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.schema import GpuProfile

Sizes = Annotated[Array, of("bytes")]


class Collective(Fitted):
    """Latency and bandwidth for each regime of message size.

    Libraries switch algorithm with size (one shot, two shots, ring). Regime i holds for messages
    smaller than `below[i]`, the last one for all others: `below` has one number fewer.
    """

    below: Sizes
    latency: Times
    bandwidth: Bandwidths

    @model_validator(mode="after")
    def _shape(self) -> Self:
        sizes = self.below.si
        if sizes.ndim != 1 or any(low >= high for low, high in itertools.pairwise(sizes)):
            raise ValueError("below must be a list that ascends")
        for name in ("latency", "bandwidth"):
            if getattr(self, name).si.shape != (len(sizes) + 1,):
                raise ValueError(f"{name} must hold one number more than below")
        return self


def all_reduce_s(message_bytes: FloatArray, size: int, gpu: GpuProfile) -> FloatArray:
    """All-reduce of `message_bytes` on each of `size` GPUs; zero for one GPU."""
    return collective_s("all_reduce", message_bytes, size, gpu)


def all_gather_s(message_bytes: FloatArray, size: int, gpu: GpuProfile) -> FloatArray:
    """All-gather whose result is `message_bytes` long on each of `size` GPUs; zero for one GPU."""
    return collective_s("all_gather", message_bytes, size, gpu)


def collective_s(
    operation: str, message_bytes: FloatArray, size: int, gpu: GpuProfile
) -> FloatArray:
    """Time of `operation` ("all_reduce" or "all_gather"); InputError for a size not measured."""
    if size == 1:
        return np.zeros_like(message_bytes)
    tables: dict[int, Collective] = getattr(gpu.kernels, operation)
    table = tables.get(size)
    if table is None:
        raise InputError(
            f"the profile of {gpu.name} has no {operation} for tensor_parallel_size {size}"
        )
    regime = np.searchsorted(table.below.si, message_bytes, side="right")
    time_s: FloatArray = table.latency.si[regime] + message_bytes / table.bandwidth.si[regime]
    return time_s
