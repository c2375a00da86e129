"""Whatever happens, in whatever order: the rules hold of every state, and every saga comes to rest."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagas.states import ActionStatus, CompensationStatus, SagaStatus, SuspendReason
from tests.sagas.random_plans import plans
from tests.sagas.walks import Walk, hasten, settle, wander

quick = settings(
    max_examples=800,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# What no random walk gets to: the code always knows the plan.
OUT_OF_REACH = {SuspendReason.DEFINITION_MISMATCH}


def test_whatever_happens_the_rules_hold_and_the_saga_comes_to_rest():
    reached = set()

    @quick
    @given(plan=plans(), head_start=st.integers(0, 9), data=st.data())
    def any_walk(plan, head_start, data):
        walk = Walk(plan)
        hasten(walk, head_start)
        wander(walk, data, moves=20)
        settle(walk)
        reached.update(walk.reached)

    any_walk()

    # With its type: members of two StrEnums with the same text are equal.
    everything = {
        (kind, status) for kind in (SagaStatus, ActionStatus, CompensationStatus, SuspendReason) for status in kind
    }
    assert {status for _, status in everything - reached} == OUT_OF_REACH
