"""The registry knows every message of the package."""

import pkgutil
from importlib import import_module

import lineshaft_contracts
from lineshaft_contracts import registry


def test_every_module_with_messages_is_listed() -> None:
    for module in pkgutil.iter_modules(lineshaft_contracts.__path__):
        if module.name != "__main__":
            import_module(f"lineshaft_contracts.{module.name}")
    homes = {
        contract.model.__module__.rpartition(".")[2] for contract in registry._CONTRACTS.values()
    }
    assert homes == set(registry.MODULES)


def test_types_are_sorted_and_versioned() -> None:
    types = list(registry.contracts())
    assert types == sorted(types)
    assert all(type_.rpartition(".")[2].removeprefix("v").isdecimal() for type_ in types)
