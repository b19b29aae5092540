"""Fakes of our ports and checks of their contracts, for people who extend the platform."""

from pynomaly.testing.detectors import check_detector
from pynomaly.testing.ledger import InMemoryLedger
from pynomaly.testing.records import InMemoryRecords
from pynomaly.testing.registry import InMemoryRegistry
from pynomaly.testing.registry_contract import RegistryContract
from pynomaly.testing.verdicts import InMemoryVerdicts

__all__ = ["InMemoryLedger", "InMemoryRecords", "InMemoryRegistry", "InMemoryVerdicts",
           "RegistryContract", "check_detector"]  # fmt: skip
