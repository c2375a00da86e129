"""The test plans, broken at every boundary that they have."""

import pytest
from django.db import transaction

from sagas.services import signal, start
from sagas.testing import verify
from tests.sagas.conftest import begin
from tests.sagas.outside import SharedWorld
from tests.sagas.plans import Parcel, Return, Transfer, TransferData, Trip, TripData, inspection, parcel_back
from tests.thinning import FULL, SEED, share_of

pytestmark = pytest.mark.verify

SHARE = share_of(0.15)


def begin_return() -> None:
    with transaction.atomic():
        start(Return, TripData("R1"), key="R1")
    signal(Return, "R1", parcel_back, Parcel(300), dedup_id="scan-1")
    signal(Return, "R1", inspection, "good", dedup_id="ada-1")


def begin_transfer() -> None:
    with transaction.atomic():
        start(Transfer, TransferData("X1", "ada", "bob"), key="X1")


def test_a_trip_withstands_everything(shared: SharedWorld):
    proof = verify(Trip, start=lambda: begin(Trip), world=shared, share=SHARE, pairs=200 if FULL else 10, seed=SEED)

    assert proof.violations == []
    assert proof.never_passed == []


def test_a_return_withstands_everything(shared: SharedWorld):
    proof = verify(Return, start=begin_return, world=shared, share=SHARE, seed=SEED)

    assert proof.violations == []


def test_a_transfer_withstands_everything(shared: SharedWorld):
    proof = verify(Transfer, start=begin_transfer, world=shared, share=SHARE, seed=SEED)

    assert proof.violations == []
