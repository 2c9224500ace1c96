"""The parts of `python -m hardware_profiles.measure`: one file per family of operations."""
