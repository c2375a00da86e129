"""A bank and a carrier that no other test talks to, and a mailbox that all processes see."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.processes import SandboxProcess
from tests.shop.verify.scenarios import Scenario
from tests.shop.verify.world import ShopWorld


@pytest.fixture(scope="session")
def own_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxProcess, SandboxProcess]]:
    processes = (
        SandboxProcess("bank", tmp_path_factory.mktemp("bank")),
        SandboxProcess("carrier", tmp_path_factory.mktemp("carrier")),
    )
    yield processes
    for process in processes:
        process.stop()


@pytest.fixture
def world_of(
    own_services: tuple[SandboxProcess, SandboxProcess], tmp_path: Path, settings: Any
) -> Callable[[Scenario], ShopWorld]:
    """Makes the world in which a scenario starts."""
    bank, carrier = own_services
    bank.control(fault="reset")
    carrier.control(fault="reset")
    settings.BANK_URL, settings.CARRIER_URL = bank.url, carrier.url
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path

    def make(scenario: Scenario) -> ShopWorld:
        steps = {step.name for step in scenario.saga.plan.steps}
        return ShopWorld(bank, carrier, tmp_path, scenario.prepare, steps)

    return make
