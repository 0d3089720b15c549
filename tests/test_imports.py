"""Every module can be imported: an annotation that exists only for the checker is caught here."""

import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    source
    for pattern in ("contracts/src", "libs/*/src", "services/*/src", "examples/*/src")
    for source in ROOT.glob(pattern)
)
SERVICES = sorted(path.parent for path in ROOT.glob("services/*/src/*/settings.py"))
IMPORT_SECONDS_MAX = 120

IMPORT_ALL = """
import importlib, sys, traceback
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException:
        failed.append(name)
        traceback.print_exc()
sys.exit(", ".join(failed) or 0)
"""


def packages() -> list[str]:
    return sorted(
        path.name for source in SOURCES for path in source.iterdir() if path.name.isidentifier()
    )


def modules_of(package: str) -> list[str]:
    """List a package's modules without importing any; `__main__` runs instead, see below."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    names = [package]
    for location in spec.submodule_search_locations:
        names += _below(Path(location), package)
    return names


def _below(folder: Path, package: str) -> list[str]:
    names: list[str] = []
    for module in pkgutil.iter_modules([str(folder)]):
        name = f"{package}.{module.name}"
        if module.name != "__main__":
            names.append(name)
        if module.ispkg:
            names += _below(folder / module.name, name)
    return names


def bare_environment() -> dict[str, str]:
    """Return the environment without anything that is a setting of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LINESHAFT_", "PLANT_", "OTEL_"))
    }


@pytest.mark.parametrize("package", packages())
def test_every_module_of_a_package_can_be_imported(package: str) -> None:
    """In a fresh interpreter, so that nothing another test imported hides what is missing."""
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules_of(package)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=bare_environment(),
        timeout=IMPORT_SECONDS_MAX,
    )
    assert result.returncode == 0, result.stderr[-4000:]


@pytest.mark.parametrize("service", SERVICES, ids=lambda package: package.name)
def test_a_service_without_settings_says_which_are_missing(service: Path) -> None:
    """Its `__main__` is imported for that, and nothing is started."""
    result = subprocess.run(
        [sys.executable, "-m", service.name],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=bare_environment(),
        timeout=IMPORT_SECONDS_MAX,
    )
    assert result.returncode == 1
    assert "LINESHAFT_AMQP_URL: Field required" in result.stderr
    assert "Traceback" not in result.stderr
