"""GPU profiles: what a GPU is, how fast its kernels run, and where each number comes from."""

from hardware_profiles.profile import GpuProfile, GpuRow, list_gpus, load_gpu

__all__ = ["GpuProfile", "GpuRow", "list_gpus", "load_gpu"]
