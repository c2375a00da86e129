"""The shapes of the shop's API."""

from typing import Any

from django.templatetags.static import static
from rest_framework import serializers

from shop.api.fields import Integer, MoneyField, PaymentToken, Text
from shop.countries import COUNTRIES
from shop.models import MAX_LINES, MAX_QUANTITY, Order, Product


class ProductFilter(serializers.Serializer[Any]):
    """What a list of products can be asked for."""

    category = serializers.SlugField(required=False, max_length=80, help_text="The slug of a category.")
    search = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text="Words, or the beginnings of words."
    )


class ProductSerializer(serializers.ModelSerializer[Product]):
    category = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    price = MoneyField()
    available = serializers.SerializerMethodField(help_text="How many can be ordered right now.")
    image = serializers.SerializerMethodField(help_text="The address of a picture, or null.")

    class Meta:
        model = Product
        fields = ("sku", "name", "description", "category", "price", "available", "image")

    def get_available(self, product: Product) -> int:
        available: int = self.context["available"].get(product.sku, 0)
        return available

    def get_image(self, product: Product) -> str | None:
        if not product.image:
            return None
        address: str = self.context["request"].build_absolute_uri(static(product.image))
        return address


class OrderLineRequest(serializers.Serializer[Any]):
    sku = Text(max_length=32)
    quantity = Integer(min_value=1, max_value=MAX_QUANTITY)


class AddressSerializer(serializers.Serializer[Any]):
    name = Text(max_length=100)
    line1 = Text(max_length=120)
    line2 = Text(max_length=120, required=False, allow_blank=True, default="")
    city = Text(max_length=80)
    postal_code = Text(max_length=16)
    country = serializers.ChoiceField(choices=COUNTRIES, help_text="ISO 3166-1 alpha-2; where the shop delivers to.")


class EmailText(Text, serializers.EmailField):
    """An e-mail address on one line."""


class OrderRequest(serializers.Serializer[Any]):
    """An order. Members that are not listed here are ignored; above all prices, which the catalogue knows."""

    email = EmailText(max_length=254)
    lines = serializers.ListField(
        child=OrderLineRequest(),
        min_length=1,
        max_length=MAX_LINES,
        help_text="Lines with the same sku are added up.",
    )
    shipping_address = AddressSerializer()
    payment_token = PaymentToken(max_length=100, help_text="The bank's token for the shopper's card.")
    mode = serializers.ChoiceField(
        choices=Order.Mode.choices,
        required=False,
        help_text="Who carries it out: one saga, or the services by each other's events. As the shop likes by default.",
    )


class PlacedOrder(serializers.Serializer[Any]):
    """The first answer to an order: accepted, and its saga started. Follow it at `Location`."""

    number = serializers.CharField()
    status = serializers.ChoiceField(choices=Order.Status.choices)
    total = MoneyField()
    saga = serializers.UUIDField(help_text="The saga that carries the order out.")
    access_token = serializers.CharField(help_text="Opens the order in the header X-Order-Token; keep it secret.")


class InProgress(serializers.Serializer[Any]):
    """The saga that holds the order: until it ends, nobody else changes the order."""

    holder = serializers.CharField(help_text="The definition of the saga.")
    saga = serializers.UUIDField()
    since = serializers.DateTimeField()
    step = serializers.CharField(help_text="Where it is, or waits.")


class OrderLineSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = MoneyField()
    total = MoneyField()


class PaymentSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="AUTHORIZED, CAPTURED, VOIDED, DECLINED or UNKNOWN.")
    amount = MoneyField()
    refunded = MoneyField()


class TrackingEventSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="In the carrier's words: `in_transit`, `delivered`, ...")
    message = serializers.CharField(allow_blank=True)
    received_at = serializers.DateTimeField()


class ShipmentSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="Whether the parcel is booked.")
    carrier = serializers.CharField(allow_blank=True)
    tracking_code = serializers.CharField(allow_blank=True)
    events = TrackingEventSerializer(many=True, help_text="The parcel's way, oldest first.")


class FailureSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="Stable, for programs: `card_declined`, `out_of_stock`, ...")
    message = serializers.CharField(help_text="For the shopper.")


class AskedForSerializer(serializers.Serializer[Any]):
    what = serializers.ChoiceField(choices=["cancel", "return", "address"])
    saga = serializers.UUIDField()
    status = serializers.CharField(
        help_text="Of the saga: COMPLETED when it is done, COMPENSATED when it came to nothing."
    )
    message = serializers.CharField(allow_blank=True, help_text="Why it came to nothing, for the shopper.")


class OrderSerializer(serializers.Serializer[Any]):
    """An order, what is being done with it, and what became of its money and its parcel."""

    number = serializers.CharField()
    status = serializers.ChoiceField(choices=Order.Status.choices)
    mode = serializers.ChoiceField(choices=Order.Mode.choices)
    created_at = serializers.DateTimeField()
    confirmed_at = serializers.DateTimeField(allow_null=True)
    cancelled_at = serializers.DateTimeField(allow_null=True)
    in_progress = InProgress(allow_null=True)
    lines = OrderLineSerializer(many=True)
    total = MoneyField()
    payment = PaymentSerializer(allow_null=True)
    shipment = ShipmentSerializer(allow_null=True)
    failure = FailureSerializer(allow_null=True)
    asked_for = AskedForSerializer(allow_null=True, help_text="What was asked for the order last.")
