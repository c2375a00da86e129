"""The rows of the benchmark: what a small shop would keep."""

from typing import ClassVar

from django.db import models


class Product(models.Model):
    objects: ClassVar["models.Manager[Product]"] = models.Manager()

    stock = models.IntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(stock__gte=0), name="bench_stock_not_negative")]


class Order(models.Model):
    objects: ClassVar["models.Manager[Order]"] = models.Manager()

    number = models.CharField(max_length=40, primary_key=True)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.IntegerField()
    cents = models.IntegerField()
    status = models.CharField(max_length=12, default="PLACED")
    ended_at = models.DateTimeField(null=True)


class Payment(models.Model):
    objects: ClassVar["models.Manager[Payment]"] = models.Manager()

    order = models.OneToOneField(Order, on_delete=models.PROTECT)
    cents = models.IntegerField()


class Shipment(models.Model):
    objects: ClassVar["models.Manager[Shipment]"] = models.Manager()

    order = models.OneToOneField(Order, on_delete=models.PROTECT)
    label = models.CharField(max_length=60)
