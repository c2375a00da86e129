"""The shop's rows: the catalogue, carts, orders, and the stored answers of the API."""

import uuid

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from money import Money
from shop.countries import COUNTRIES

MAX_QUANTITY = 99
MAX_REASON = 200
MAX_LINES = 50
# The index and the search have to spell this alike, or the index is not used.
PRODUCT_TEXT = SearchVector("name", weight="A", config="english") + SearchVector(
    "description", weight="C", config="english"
)


class Category(models.Model):
    """A shelf of the shop."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.CharField(max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="Categories are shown in this order.")

    class Meta:
        verbose_name_plural = "categories"
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:category", args=[self.slug])


class Product(models.Model):
    """Something to buy. Its price is what the next order pays; placed orders keep their own copy."""

    sku = models.CharField("SKU", max_length=32, unique=True)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True)
    description = models.TextField(blank=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    price_amount = models.PositiveIntegerField(
        "price", validators=[MinValueValidator(1)], help_text="In minor units: 1999 is 19.99."
    )
    currency = models.CharField(max_length=3, default="EUR")
    weight_grams = models.PositiveIntegerField(
        "weight", validators=[MinValueValidator(1)], help_text="In grams, packed."
    )
    image = models.CharField(max_length=200, blank=True, help_text="A path below static/.")
    is_active = models.BooleanField("for sale", default=True)

    class Meta:
        ordering = ["name", "id"]
        indexes = [
            models.Index(fields=["name", "id"], condition=Q(is_active=True), name="product_list"),
            models.Index(fields=["category", "name", "id"], condition=Q(is_active=True), name="product_list_category"),
            GinIndex(PRODUCT_TEXT, name="product_search"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(price_amount__gt=0), name="product_price_positive"),
            models.CheckConstraint(condition=Q(weight_grams__gt=0), name="product_weight_positive"),
            models.CheckConstraint(condition=Q(currency__regex="^[A-Z]{3}$"), name="product_currency_iso"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("shop:product", args=[self.slug])

    @property
    def price(self) -> Money:
        return Money(self.price_amount, self.currency)


class Cart(models.Model):
    """What somebody is about to buy. Once an order was made of it, it never changes again."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="carts"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True, db_index=True)

    def __str__(self) -> str:
        return f"cart {self.pk}"


class CartLine(models.Model):
    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="+")
    quantity = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["cart", "product"], name="cart_line_once_per_product"),
            models.CheckConstraint(condition=Q(quantity__range=(1, MAX_QUANTITY)), name="cart_line_quantity_range"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product_id}"

    @property
    def total(self) -> Money:
        return self.product.price * self.quantity


class Order(models.Model):
    """What was bought, by whom, for how much. What is happening to it is told by its saga."""

    class Status(models.TextChoices):
        PENDING = "pending"
        CONFIRMED = "confirmed"
        SHIPPED = "shipped"
        DELIVERED = "delivered"
        CANCELLED = "cancelled"
        RETURNED = "returned"

    class Mode(models.TextChoices):
        ORCHESTRATED = "orchestrated"
        CHOREOGRAPHED = "choreographed"

    number = models.CharField(max_length=16, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="orders"
    )
    email = models.EmailField(max_length=254)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    cancel_reason = models.CharField(max_length=300, blank=True, help_text="In the shopper's words.")
    currency = models.CharField(max_length=3)
    total_amount = models.PositiveBigIntegerField("total", help_text="In minor units: 1999 is 19.99.")
    ship_name = models.CharField("name", max_length=100)
    ship_line1 = models.CharField("address", max_length=120)
    ship_line2 = models.CharField("address, second line", max_length=120, blank=True)
    ship_city = models.CharField("city", max_length=80)
    ship_postal_code = models.CharField("postal code", max_length=16)
    ship_country = models.CharField("country", max_length=2)
    payment_method = models.CharField(max_length=100, help_text="The bank's token, never a card number.")
    parcel = models.PositiveSmallIntegerField(
        default=1, editable=False, help_text="Which parcel carries it: another address needs another one."
    )
    mode = models.CharField(max_length=13, choices=Mode.choices, default=Mode.ORCHESTRATED)
    access_token_hash = models.CharField(max_length=64, editable=False)
    cart = models.OneToOneField(
        Cart, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="order"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)
    cancelled_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        permissions = [("handle_returns", "Can tell that a returned parcel is here, and what was found in it")]
        indexes = [
            models.Index(F("user"), F("created_at").desc(), F("id").desc(), name="order_history"),
            models.Index(F("created_at").desc(), F("id").desc(), name="order_newest"),
            models.Index("status", F("created_at").desc(), F("id").desc(), name="order_by_status"),
            models.Index(fields=["created_at"], condition=Q(status="pending"), name="order_pending"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "confirmed", "shipped", "delivered", "cancelled", "returned"]),
                name="order_status_known",
            ),
            models.CheckConstraint(condition=Q(total_amount__gt=0), name="order_total_positive"),
            models.CheckConstraint(
                condition=Q(cancelled_at__isnull=False) ^ ~Q(status="cancelled"), name="order_cancelled_has_time"
            ),
        ]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("shop:order", args=[self.number])

    @property
    def total(self) -> Money:
        return Money(self.total_amount, self.currency)

    @property
    def shipment_reference(self) -> str:
        """What shipping knows the parcel by that carries this order now."""
        return shipment_reference(self.number, self.parcel)

    @property
    def country_name(self) -> str:
        return dict(COUNTRIES).get(self.ship_country, self.ship_country)


def shipment_reference(number: str, parcel: int) -> str:
    """The order's number, and a count from its second parcel on: what was cancelled can never be booked again."""
    return number if parcel == 1 else f"{number}-{parcel}"


class AddressWish(models.Model):
    """Where a shopper wants an order to go instead, and the number of the parcel that would bring it there."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="address_wishes")
    parcel = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    line1 = models.CharField(max_length=120)
    line2 = models.CharField(max_length=120, blank=True)
    city = models.CharField(max_length=80)
    postal_code = models.CharField(max_length=16)
    country = models.CharField(max_length=2)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["order", "parcel"], name="address_wish_once_per_parcel")]

    def __str__(self) -> str:
        return shipment_reference(self.order.number, self.parcel)


class OrderLine(models.Model):
    """Name and price are copies: a later change of the catalogue does not change what was bought."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    sku = models.CharField("SKU", max_length=32)
    name = models.CharField(max_length=120)
    quantity = models.PositiveSmallIntegerField()
    unit_amount = models.PositiveIntegerField("unit price", help_text="In minor units.")
    currency = models.CharField(max_length=3)
    weight_grams = models.PositiveIntegerField("weight", help_text="Of one, in grams.")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["order", "sku"], name="order_line_once_per_sku"),
            models.CheckConstraint(condition=Q(quantity__range=(1, MAX_QUANTITY)), name="order_line_quantity_range"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"

    @property
    def unit_price(self) -> Money:
        return Money(self.unit_amount, self.currency)

    @property
    def total(self) -> Money:
        return self.unit_price * self.quantity


class IdempotencyKey(models.Model):
    """A client's key with the answer it was given, stored in the commit that did the work.

    The unique constraint is the guard: of two requests with one key the second waits for the first commit
    and then reads its answer. ``caller`` is part of it, so that nobody replays somebody else's answer.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    caller = models.CharField(max_length=64, help_text="Whose key it is: user:7, or guest.")
    operation = models.CharField(max_length=100, help_text="Method and path.")
    key = models.CharField(max_length=64, help_text="SHA-256 of the key: a copy of the table replays nothing.")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the request it belongs to.")
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    response_body = models.JSONField(null=True, blank=True)
    order = models.ForeignKey(Order, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "operation", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
