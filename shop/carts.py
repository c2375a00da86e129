"""The cart: what a session, and then an account, is about to buy.

The session holds only the cart's key, so a guest's cart can be reached through nothing but their session.
Changes lock the cart's row: they cannot slip between an order and the lines it was made of.
"""

import hashlib
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models import Sum
from django.dispatch import receiver
from django.http import HttpRequest

from inventory import selectors as inventory
from money import Money
from shop.exceptions import CartAlreadyOrdered, CartChanged, NotEnoughStock, QuantityOutOfRange
from shop.models import MAX_QUANTITY, Cart, CartLine, Order, Product
from shop.services import Address, place_order

_SESSION_KEY = "cart"


def session_cart(request: HttpRequest) -> Cart | None:
    """The session's cart, also when it was ordered already."""
    key = request.session.get(_SESSION_KEY)
    cart = Cart.objects.select_related("order").filter(pk=key).first() if key else None
    if cart is not None and cart.user_id not in (None, request.user.pk):
        return None
    return cart


def open_cart(request: HttpRequest) -> Cart | None:
    """The cart that can still be changed, if there is one."""
    cart = session_cart(request)
    return None if cart is None or was_ordered(cart) else cart


def put_in_cart(request: HttpRequest, product: Product, quantity: int) -> None:
    """Add ``product`` to the open cart, or to a new one. Raises as `add_product` does, and then leaves no cart."""
    with transaction.atomic():
        user = request.user if isinstance(request.user, User) else None
        cart = open_cart(request) or Cart.objects.create(user=user)
        add_product(cart, product, quantity)
    request.session[_SESSION_KEY] = cart.pk


def was_ordered(cart: Cart) -> bool:
    return hasattr(cart, "order")


def lines_of(cart: Cart | None) -> list[CartLine]:
    """The lines with their products, oldest first. A product that left the shop is not in the cart any more."""
    if cart is None:
        return []
    return list(
        CartLine.objects.filter(cart=cart, product__is_active=True)
        .select_related("product")
        .defer("product__description")
    )


def count_items(request: HttpRequest) -> int:
    """How many things are in the open cart."""
    if not (key := request.session.get(_SESSION_KEY)):
        return 0
    lines = CartLine.objects.filter(cart=key, cart__order__isnull=True, product__is_active=True)
    return lines.aggregate(items=Sum("quantity"))["items"] or 0


def add_product(cart: Cart, product: Product, quantity: int) -> None:
    """Put ``quantity`` more of ``product`` into the cart.

    Raises `QuantityOutOfRange`, `NotEnoughStock` or `CartAlreadyOrdered`, and then changes nothing.
    """
    with transaction.atomic():
        _lock(cart)
        line = CartLine.objects.filter(cart=cart, product=product).first()
        _store(cart, product, quantity + (line.quantity if line else 0))


def set_quantity(cart: Cart, product: Product, quantity: int) -> None:
    """Have exactly ``quantity`` of ``product`` in the cart; 0 takes it out. Raises as `add_product` does."""
    with transaction.atomic():
        _lock(cart)
        if quantity:
            _store(cart, product, quantity)
        else:
            CartLine.objects.filter(cart=cart, product=product).delete()


def fingerprint(cart: Cart, lines: Sequence[CartLine]) -> str:
    """Names this cart with these lines and prices, so that nobody orders what they did not see."""
    seen = [(line.product.sku, line.quantity, str(line.product.price)) for line in lines]
    return hashlib.sha256(repr((cart.pk, seen)).encode()).hexdigest()[:32]


def order_cart(
    cart: Cart, *, seen: str, email: str, address: Address, payment_method: str, user: User | None
) -> tuple[Order, str]:
    """Place an order for what is in the cart, if that is what its owner ``seen``.

    Raises `CartAlreadyOrdered` for the second of two submits, `CartChanged`, and what `place_order` raises.
    """
    with transaction.atomic():
        _lock(cart)
        lines = lines_of(cart)
        if fingerprint(cart, lines) != seen:
            raise CartChanged
        order, token = place_order(
            email=email,
            lines=[(line.product.sku, line.quantity) for line in lines],
            address=address,
            payment_method=payment_method,
            user=user,
            cart=cart,
        )
        if order.total != Money(sum(line.total.amount for line in lines), lines[0].product.currency):
            raise CartChanged  # a price was changed between these two looks at the catalogue
    return order, token


@receiver(user_logged_in)
def keep_cart(sender: object, request: HttpRequest, user: User, **_: object) -> None:
    """Who logs in keeps the guest's cart, added to what their account had from another visit."""
    guest = Cart.objects.filter(pk=request.session.get(_SESSION_KEY, 0), user=None, order=None).first()
    kept = Cart.objects.filter(user=user, order=None).order_by("-changed_at").first()
    if guest is None and kept is None:
        return
    cart = guest if kept is None else kept
    assert cart is not None
    if guest is not None:
        try:
            _hand_over(guest, cart, user)
        except (CartChanged, CartAlreadyOrdered):
            # Another tab was faster: look again at what there is.
            keep_cart(sender, request, user)
            return
    request.session[_SESSION_KEY] = cart.pk


def _hand_over(guest: Cart, cart: Cart, user: User) -> None:
    with transaction.atomic():
        for one in sorted({guest, cart}, key=lambda one: one.pk):
            _lock(one)
        if guest.pk == cart.pk:
            Cart.objects.filter(pk=cart.pk).update(user=user)
            return
        had = {line.product_id: line.quantity for line in cart.lines.all()}
        moved = [
            CartLine(
                cart=cart,
                product_id=line.product_id,
                quantity=min(MAX_QUANTITY, line.quantity + had.get(line.product_id, 0)),
            )
            for line in guest.lines.all()
        ]
        CartLine.objects.bulk_create(
            moved, update_conflicts=True, unique_fields=["cart", "product"], update_fields=["quantity"]
        )
        guest.delete()


def _lock(cart: Cart) -> None:
    if not Cart.objects.select_for_update().filter(pk=cart.pk).exists():
        raise CartChanged  # another tab logged in, and its lines moved to the account's cart
    number = Order.objects.filter(cart=cart).values_list("number", flat=True).first()
    if number is not None:
        raise CartAlreadyOrdered(number)


def _store(cart: Cart, product: Product, quantity: int) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise QuantityOutOfRange(product.sku, MAX_QUANTITY)
    available = inventory.available([product.sku]).get(product.sku, 0)
    if quantity > available:
        raise NotEnoughStock(product.sku, product.name, available)
    CartLine.objects.update_or_create(cart=cart, product=product, defaults={"quantity": quantity})
    cart.save(update_fields=["changed_at"])
