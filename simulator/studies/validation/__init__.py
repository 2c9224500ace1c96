"""Simulate what somebody measured, and say how far off the simulation is."""

from __future__ import annotations

from simulator.studies.validation.points import Point, read_points
from simulator.studies.validation.predict import Prediction, predict

__all__ = ["Point", "Prediction", "predict", "read_points"]
