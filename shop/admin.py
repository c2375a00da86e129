"""The catalogue in the admin. Stock is not edited here: it moves only through inventory."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from money import Money
from shop import order_admin  # noqa: F401 - registers the orders
from shop.models import Category, Product

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ShelfAdmin(ModelAdmin):
    """A list whose actions take what was ticked in it, and nothing that was made up."""

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **options: Any
    ) -> HttpResponse | None:
        try:
            for ticked in request.POST.getlist(ACTION_CHECKBOX_NAME):
                int(ticked)
        except ValueError as error:
            raise BadRequest("What is ticked is not in this list.") from error
        return super().response_action(request, queryset, *args, **options)


@admin.register(Category)
class CategoryAdmin(ShelfAdmin):
    list_display = ["name", "position", "description"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Product)
class ProductAdmin(ShelfAdmin):
    list_display = ["name", "sku", "category", "price", "is_active"]
    list_filter = ["is_active", "category"]
    list_select_related = ["category"]
    search_fields = ["name", "=sku"]
    prepopulated_fields = {"slug": ["name"]}
    actions = ["take_off_sale", "put_on_sale"]

    @admin.display(ordering="price_amount")
    def price(self, product: Product) -> Money:
        return product.price

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> list[str]:
        # Stock and orders know the product by its SKU.
        return ["sku"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A product is taken off sale, not deleted: carts and stock point to it."""
        return False

    @admin.action(description="Take the chosen products off sale", permissions=["change"])
    def take_off_sale(self, request: HttpRequest, products: QuerySet[Product]) -> None:
        self.message_user(request, f"{products.update(is_active=False)} off sale.", messages.SUCCESS)

    @admin.action(description="Put the chosen products on sale", permissions=["change"])
    def put_on_sale(self, request: HttpRequest, products: QuerySet[Product]) -> None:
        self.message_user(request, f"{products.update(is_active=True)} on sale.", messages.SUCCESS)
