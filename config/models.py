"""What the HTTP side counts."""

from django.db import models


class RequestCount(models.Model):
    """How often one client asked for one kind of thing in its current minute; see `config.throttling`."""

    client = models.CharField(max_length=80, primary_key=True, help_text="What is counted and for whom: orders ip:::1")
    minute = models.BigIntegerField(help_text="Minutes since 1970, by the database's clock.")
    count = models.PositiveIntegerField()

    class Meta:
        indexes = [models.Index(fields=["minute"], name="request_count_minute")]

    def __str__(self) -> str:
        return f"{self.client}: {self.count}"
