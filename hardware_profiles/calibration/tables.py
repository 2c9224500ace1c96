"""The public tables of measured kernels that profiles are fitted to.

They are NVIDIA's, inside the Apache-2.0 packages `aisimulate` and `aiconfigurator-core`: parquet
files SYSTEM/OPERATION/LIBRARY/VERSION/NAME_perf.parquet under `systems/data` of either.
"""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# Import package -> distribution; of a table in both, the first one's is taken (it is newer).
PACKAGES = {"aisimulate_core": "aisimulate", "aiconfigurator_core": "aiconfigurator-core"}
DATA = "systems/data"
SYSTEMS = {
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "a100-sxm-80gb": "a100_sxm",
    "b200-sxm": "b200_sxm",
}
# The version the committed profiles were fitted to.
WHEEL = "aisimulate==0.13.0.dev202610270000000085"
HOW_TO_GET = (
    f"run `pip download --no-deps {WHEEL}` and give the wheel as --tables; older tables come with"
    " pip install 'ponder[calibrate]'"
)


@dataclass(frozen=True)
class Root:
    """One package's `systems/data`: a folder, or a folder inside a wheel."""

    name: str
    folder: Any  # pathlib.Path or zipfile.Path


@dataclass(frozen=True)
class Tables:
    """The tables of one GPU in `roots`, of which the first that has a table serves it."""

    gpu: str
    roots: tuple[Root, ...]

    @property
    def system(self) -> str:
        """What the packages call the GPU."""
        return SYSTEMS[self.gpu]

    def has(self, table: str) -> bool:
        """Whether any package holds this table of this GPU."""
        return self._find(table) is not None

    def first(self, *tables: str) -> pd.DataFrame | None:
        """The first of `tables` that any package holds, or None."""
        return next((self.read(table) for table in tables if self.has(table)), None)

    def read(self, table: str) -> pd.DataFrame:
        """The table OPERATION/LIBRARY/VERSION/NAME_perf of this GPU.

        A column `source` says where it comes from. Raises InputError when no package has it.
        """
        import pandas as pd

        found = self._find(table)
        if found is None:
            names = ", ".join(root.name for root in self.roots)
            raise InputError(f"no table {self.system}/{table} in {names}: {HOW_TO_GET}")
        root, path = found
        rows = pd.read_parquet(BytesIO(path.read_bytes()))
        rows["source"] = f"{root.name} (Apache-2.0), {self.system}/{table}"
        return rows

    def _find(self, table: str) -> tuple[Root, Any] | None:
        for root in self.roots:
            path = root.folder / self.system / f"{table}.parquet"
            if path.is_file():
                return root, path
        return None


def find_tables(gpu: str, where: str | Path | None = None) -> Tables:
    """The tables of `gpu`: in `where`, or in the packages of the `calibrate` extra.

    `where` is a wheel, a folder with one unpacked, or a `systems/data` folder. Raises InputError
    for a GPU without tables, and when there are none to be found.
    """
    if gpu not in SYSTEMS:
        raise InputError(f"there are no public kernel tables of {gpu}; known: {', '.join(SYSTEMS)}")
    roots = _of_packages() if where is None else _of_path(Path(where))
    if not roots:
        raise InputError(f"no kernel tables in {where or 'the installed packages'}: {HOW_TO_GET}")
    return Tables(gpu, roots)


def _of_packages() -> tuple[Root, ...]:
    roots = []
    for package, distribution in PACKAGES.items():
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            continue
        try:
            name = f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            name = distribution
        roots.append(Root(name, Path(found.origin).parent / DATA))
    return tuple(roots)


def _of_path(path: Path) -> tuple[Root, ...]:
    if path.is_file() and zipfile.is_zipfile(path):
        # NAME-VERSION-...whl; a wheel's own folders are listed by nothing but its files
        name = " ".join(path.name.split("-")[:2]).replace("_", "-")
        archive = zipfile.ZipFile(path)
        names = archive.namelist()
        return tuple(
            Root(name, zipfile.Path(archive, f"{package}/{DATA}/"))
            for package in PACKAGES
            if any(entry.startswith(f"{package}/{DATA}/") for entry in names)
        )
    if not path.is_dir():
        raise InputError(f"--tables {path}: neither a wheel nor a folder")
    roots = []
    for package, distribution in PACKAGES.items():
        for folder in sorted(path.rglob(f"{package}/{DATA}")):
            infos = folder.parents[2].glob(f"{distribution.replace('-', '_')}-*.dist-info")
            number = next((info.name.split("-")[1].removesuffix(".dist") for info in infos), "")
            roots.append(Root(f"{distribution} {number}".strip(), folder))
    if not roots and any((path / system).is_dir() for system in SYSTEMS.values()):
        roots.append(Root(path.name, path))
    return tuple(roots)
