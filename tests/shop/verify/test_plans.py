"""Every plan of the shop, broken at every boundary that it has.

A case is one disturbance at one boundary. Without ``VERIFY=full`` a share of them is drawn: see `thinning`.
"""

from collections.abc import Callable

import pytest

from sagas.testing import verify
from tests.shop.verify.scenarios import BY_EVENTS, SCENARIOS, Scenario
from tests.shop.verify.world import ShopWorld
from tests.thinning import SEED, share_of, told

pytestmark = [pytest.mark.verify, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("scenario", [*SCENARIOS, BY_EVENTS], ids=lambda scenario: scenario.name)
def test_a_plan_withstands_everything(scenario: Scenario, world_of: Callable[[Scenario], ShopWorld]) -> None:
    world = world_of(scenario)

    proof = verify(
        scenario.saga,
        start=scenario.start,
        world=world,
        invariants=[world.violations],
        disturbances=scenario.disturbances,
        ways=scenario.ways,
        share=share_of(scenario.share),
        pairs=round(share_of(scenario.share) * 30),
        seed=SEED,
    )

    told.append(f"{scenario.name}: {str(proof).splitlines()[0]}")
    assert proof.violations == []
