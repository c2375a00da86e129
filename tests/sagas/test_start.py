"""Starting sagas, one by one and in batches."""

import msgspec
import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from sagas.driver import drain_due
from sagas.models import SagaEvent, SagaInstance, SemanticLock
from sagas.services import Rejected, Started, start, start_many
from tests.sagas.conftest import begin_trip
from tests.sagas.plans import Transfer, TransferData, Trip, TripData, World, effects


def begin_many(*numbers: str) -> list[Started | Rejected]:
    with transaction.atomic():
        return start_many(Trip, [(number, TripData(number)) for number in numbers])


def test_a_batch_of_sagas_runs_to_its_end(world: World):
    results = begin_many("T1", "T2", "T3")
    drain_due()

    assert [(r.key, isinstance(r, Started) and r.new) for r in results] == [("T1", True), ("T2", True), ("T3", True)]
    assert set(SagaInstance.objects.values_list("business_key", "status")) == {
        ("T1", "COMPLETED"),
        ("T2", "COMPLETED"),
        ("T3", "COMPLETED"),
    }
    assert SagaEvent.objects.filter(after="PENDING", what="saga").count() == 3


def test_the_statements_of_a_batch_do_not_grow_with_it(world: World):
    counts = []
    for size in (2, 50):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            begin_many(*(f"{size}-{number}" for number in range(size)))
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_one_that_is_there_already_is_told_and_not_started_again(world: World):
    first = begin_trip("T1")

    results = begin_many("T1", "T2", "T2")

    assert results[0] == Started("T1", first.pk, new=False)
    assert [result.key for result in results] == ["T1", "T2"]
    assert SagaInstance.objects.count() == 2


def test_one_whose_lock_is_taken_is_rejected_and_the_rest_is_started(world: World):
    with transaction.atomic():
        start(Transfer, TransferData("T0", "A", "B"), key="T0")

    with transaction.atomic():
        data = [TransferData("T1", "C", "D"), TransferData("T2", "B", "E"), TransferData("T3", "D", "F")]
        results = start_many(Transfer, [(item.number, item) for item in data])

    assert [type(result) for result in results] == [Started, Rejected, Rejected]
    assert set(SagaInstance.objects.values_list("business_key", flat=True)) == {"T0", "T1"}
    assert set(SemanticLock.objects.values_list("resource_id", flat=True)) == {"A", "B", "C", "D"}


def test_one_that_names_a_resource_twice_is_not_in_its_own_way(world: World):
    with transaction.atomic():
        (result,) = start_many(Transfer, [("T1", TransferData("T1", "A", "A"))])

    assert isinstance(result, Started)
    assert list(SemanticLock.objects.values_list("resource_id", "saga")) == [("A", result.saga_id)]


def test_a_batch_with_bad_data_is_refused_whole(world: World):
    with pytest.raises(msgspec.ValidationError, match="number"), transaction.atomic():
        start_many(Trip, [("T1", TripData("T1")), ("T2", TripData(7))])  # type: ignore[arg-type]

    assert not SagaInstance.objects.exists()


def test_a_saga_is_started_inside_a_transaction_or_not_at_all(world: World):
    with pytest.raises(TransactionManagementError, match="inside `transaction"):
        start(Trip, TripData("T1"), key="T1")

    assert not SagaInstance.objects.exists()
    assert effects("T1") == []
