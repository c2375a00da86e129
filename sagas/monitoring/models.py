"""The rows of what is watched."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Tally(models.Model):
    """How many sagas ended so, or attempts of one side of a step did, within a time. `tally` is its only writer.

    ``step`` and ``side`` are empty where sagas are counted. Rows outlive the sagas they speak of.
    """

    definition = models.CharField(max_length=100)
    step = models.CharField(max_length=100, blank=True)
    side = models.CharField(max_length=12, blank=True)
    outcome = models.CharField(max_length=12)
    at_most = models.FloatField(help_text="Seconds: the smallest bound they did not exceed, or infinity.")
    count = models.BigIntegerField()
    seconds = models.FloatField(help_text="How long all of them took together.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("definition", "step", "side", "outcome", "at_most", name="tally_once"),
        ]

    def __str__(self) -> str:
        return f"{self.definition} {self.step} {self.side} {self.outcome}: {self.count}"


class TallyMark(models.Model):
    """Up to where `Tally` has counted: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    ended_until = models.DateTimeField()
    attempt_until = models.BigIntegerField()
    # Attempts before that which had not ended when the others were counted.
    open_attempts = ArrayField(models.BigIntegerField())

    def __str__(self) -> str:
        return f"counted until {self.ended_until}"
