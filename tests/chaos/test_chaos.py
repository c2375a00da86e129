"""A short run with a fixed seed, in every run of the tests."""

import sys

import pytest

from tests.chaos.__main__ import summary
from tests.chaos.run import Options, chaos


@pytest.mark.chaos
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_everything_is_right_after_forty_seconds_of_faults(tmp_path):
    options = Options(seconds=40, seed=3, orders_per_second=4, report=tmp_path / "report.json", quiet=True)

    result = chaos(options)

    assert result.passed, summary(result)
    assert result.suspended == []
    assert options.report.exists()
