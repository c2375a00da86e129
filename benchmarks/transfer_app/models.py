"""What stands in the first database. The second one is not Django's: see `there`."""

from typing import ClassVar

from django.db import models


class Account(models.Model):
    objects: ClassVar["models.Manager[Account]"] = models.Manager()

    cents = models.BigIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(cents__gte=0), name="bench_cents_not_negative")]


class Transfer(models.Model):
    objects: ClassVar["models.Manager[Transfer]"] = models.Manager()

    number = models.CharField(max_length=40, primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    cents = models.IntegerField()
    status = models.CharField(max_length=12, default="ASKED")
    ended_at = models.DateTimeField(null=True)
