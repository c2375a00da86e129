"""What may be done with orders. Each function is one commit, or joins its caller's."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.crypto import salted_hmac

from inventory import selectors as inventory
from sagas import services as sagas
from shop.exceptions import (
    CartAlreadyOrdered,
    EmptyOrder,
    MixedCurrencies,
    NotEnoughStock,
    OrderCannotBecome,
    QuantityOutOfRange,
    TooManyLines,
    UnknownOrder,
    UnknownProduct,
)
from shop.models import MAX_LINES, MAX_QUANTITY, Cart, Order, OrderLine, Product
from shop.selectors import order_and_parcel

_NUMBER_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is misread: no 0 O, 1 I L, U
_NUMBER_LENGTH = 10


# What the carrier's words mean for the order, and from where it may get there: news may skip a station.
_PARCEL_NEWS = {
    "in_transit": (Order.Status.SHIPPED, {Order.Status.CONFIRMED}),
    "out_for_delivery": (Order.Status.SHIPPED, {Order.Status.CONFIRMED}),
    "delivered": (Order.Status.DELIVERED, {Order.Status.CONFIRMED, Order.Status.SHIPPED}),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the parcel goes; ``country`` is ISO 3166 alpha-2."""

    name: str
    line1: str
    city: str
    postal_code: str
    country: str
    line2: str = ""


def place_order(
    *,
    email: str,
    lines: Iterable[tuple[str, int]],
    address: Address,
    payment_method: str,
    mode: str = "",
    user: User | None = None,
    cart: Cart | None = None,
) -> tuple[Order, str]:
    """Store an order and start its checkout, in one commit. Returns it with its access token.

    Prices come from the catalogue and are copied into the lines. Lines that name a SKU twice are added up.
    A cart becomes at most one order: raises `CartAlreadyOrdered`, which names it, for the second.
    ``mode`` is how it is carried out, one of `Order.Mode`; the setting CHECKOUT_MODE by default.

    Raises an `OrderRefused`, which names the field at fault, and leaves nothing behind. `NotEnoughStock` is
    a courtesy for the shopper in front of the page; the checkout's reservation decides.
    """
    wanted = _wanted(lines)
    with transaction.atomic():
        if cart is not None:
            _claim_cart(cart)
        products = _products(wanted)
        number = _new_number()
        token = _derive_token(number, settings.SECRET_KEY)
        order = Order.objects.create(
            number=number,
            user=user,
            email=email,
            currency=products[0].currency,
            total_amount=sum(product.price_amount * wanted[product.sku] for product in products),
            ship_name=address.name,
            ship_line1=address.line1,
            ship_line2=address.line2,
            ship_city=address.city,
            ship_postal_code=address.postal_code,
            ship_country=address.country,
            payment_method=payment_method,
            mode=mode or settings.CHECKOUT_MODE,
            access_token_hash=_digest(token),
            cart=cart,
        )
        stored = [_order_line(order, product, wanted[product.sku]) for product in products]
        OrderLine.objects.bulk_create(stored)
        _start_checkout(order, stored)
    return order, token


def confirm_order(number: str) -> Order:
    """Confirm a pending order. A second call changes nothing."""
    return _move(number, Order.Status.CONFIRMED, since={Order.Status.PENDING}, confirmed_at=Now())


def cancel_order(number: str, reason: str) -> Order:
    """Cancel an order that has not left the house, with a ``reason`` in the shopper's words.

    A second call changes nothing: the first reason stays.
    """
    since = {Order.Status.PENDING, Order.Status.CONFIRMED}
    return _move(number, Order.Status.CANCELLED, since=since, cancelled_at=Now(), cancel_reason=reason[:300])


def return_order(number: str) -> Order:
    """The goods came back and the money went back. A second call changes nothing."""
    return _move(number, Order.Status.RETURNED, since={Order.Status.SHIPPED, Order.Status.DELIVERED})


def readdress_order(number: str, address: Address, *, parcel: int) -> None:
    """A confirmed order goes elsewhere, with another parcel. A second call changes nothing."""
    Order.objects.filter(number=number, status=Order.Status.CONFIRMED).update(
        parcel=parcel, **{f"ship_{part}": value for part, value in asdict(address).items()}
    )


def follow_parcel(reference: str, tracking_status: str) -> None:
    """Move the order on as its parcel goes: to shipped, to delivered, never back. Other news changes nothing.

    ``reference`` is the parcel's; of one that no longer carries its order nothing is believed.

    Raises `LockTaken` while a saga holds the order; the carrier tells us again.
    """
    status, since = _PARCEL_NEWS.get(tracking_status, (None, set()))
    if status is None:
        return
    number, parcel = order_and_parcel(reference)
    with transaction.atomic(), sagas.guard("shop.order", number):
        Order.objects.filter(number=number, parcel=parcel, status__in=since).update(status=status)


def access_token_of(order: Order) -> str:
    """The order's access token once more: for a link in an e-mail, or the replay of a stored answer.

    The database holds only its hash. The token is derived from the order's number with the secret key, so it
    can be told again but not read from a copy of the database. Empty when the key it was made with is gone.
    """
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        token = _derive_token(order.number, key)
        if _digest(token) == order.access_token_hash:
            return token
    return ""


def order_link(order: Order) -> str:
    """The address of the order's page for an e-mail: whoever has it may see the order, without an account."""
    token = access_token_of(order)
    path = reverse("shop:order-open", args=[order.number, token]) if token else order.get_absolute_url()
    return f"{settings.PUBLIC_URL.rstrip('/')}{path}"


def opens_order(order: Order, token: str) -> bool:
    """Whether ``token`` is the access token of ``order``, in constant time."""
    return hmac.compare_digest(_digest(token), order.access_token_hash)


def _wanted(lines: Iterable[tuple[str, int]]) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for sku, quantity in lines:
        if not 1 <= quantity <= MAX_QUANTITY or wanted.get(sku, 0) + quantity > MAX_QUANTITY:
            raise QuantityOutOfRange(sku, MAX_QUANTITY)
        wanted[sku] = wanted.get(sku, 0) + quantity
    if not wanted:
        raise EmptyOrder
    if len(wanted) > MAX_LINES:
        raise TooManyLines(MAX_LINES)
    return wanted


def _claim_cart(cart: Cart) -> None:
    # The lock lets a double click wait for the first and see its order, and keeps the cart's lines
    # still; the unique column on the order would refuse the second anyway.
    Cart.objects.select_for_update().get(pk=cart.pk)
    number = Order.objects.filter(cart=cart).values_list("number", flat=True).first()
    if number is not None:
        raise CartAlreadyOrdered(number)


def _products(wanted: dict[str, int]) -> list[Product]:
    """The products in the order they were asked for."""
    found = {
        product.sku: product for product in Product.objects.filter(sku__in=wanted, is_active=True).defer("description")
    }
    available = inventory.available(found)
    products = []
    for sku, quantity in wanted.items():
        if sku not in found:
            raise UnknownProduct(sku)
        if quantity > available.get(sku, 0):
            raise NotEnoughStock(sku, found[sku].name, available.get(sku, 0))
        products.append(found[sku])
    currencies = tuple(sorted({product.currency for product in products}))
    if len(currencies) > 1:
        raise MixedCurrencies(currencies)
    return products


def _order_line(order: Order, product: Product, quantity: int) -> OrderLine:
    return OrderLine(
        order=order,
        sku=product.sku,
        name=product.name,
        quantity=quantity,
        unit_amount=product.price_amount,
        currency=product.currency,
        weight_grams=product.weight_grams,
    )


def _start_checkout(order: Order, lines: list[OrderLine]) -> None:
    # Here, not at the top: the plans' steps import this module.
    from shop.checkout import Checkout, CheckoutData
    from shop.choreographed_checkout import begin_flow

    if order.mode == Order.Mode.CHOREOGRAPHED:
        begin_flow(order, lines)
        return
    sagas.start(Checkout, CheckoutData(order_number=order.number), key=order.number)


def _move(number: str, status: Order.Status, *, since: set[Order.Status], **changes: object) -> Order:
    with transaction.atomic():
        order = Order.objects.select_for_update().filter(number=number).first()
        if order is None:
            raise UnknownOrder(number)
        if order.status == status:
            return order
        if order.status not in since:
            raise OrderCannotBecome(number, order.status, status)
        Order.objects.filter(pk=order.pk).update(status=status, **changes)
        order.refresh_from_db()
    return order


def _new_number() -> str:
    return "S-" + "".join(secrets.choice(_NUMBER_ALPHABET) for _ in range(_NUMBER_LENGTH))


def _derive_token(number: str, key: str) -> str:
    return salted_hmac("shop.order.access", number, secret=key, algorithm="sha256").hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
