"""Find something: everything, a shelf, a search, one product."""

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from shop.forms import QuantityForm
from shop.models import Category, Product
from shop.selectors import products_for_sale, search_products, with_stock

PAGE_SIZE = 12
_LONGEST_SEARCH = 100
_RELATED = 4


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Everything the shop sells."""
    return _listing(request, products_for_sale(), title="Everything", is_home=True)


@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    """One shelf."""
    shelf = get_object_or_404(Category, slug=slug)
    return _listing(request, products_for_sale().filter(category=shelf), title=shelf.name, category=shelf)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """The products with the words that were asked for."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:_LONGEST_SEARCH]
    title = f"Results for “{text}”" if text else "Everything"
    return _listing(request, search_products(text), title=title, searched=text, is_search=True)


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    """One product, with others of its shelf."""
    shown = get_object_or_404(products_for_sale(), slug=slug)
    others = products_for_sale().filter(category=shown.category).exclude(pk=shown.pk)[:_RELATED]
    (_, available), *related = with_stock([shown, *others])
    context = {"product": shown, "available": available, "related": related, "form": QuantityForm()}
    return render(request, "shop/product.html", context)


def _listing(request: HttpRequest, products: QuerySet[Product], **context: object) -> HttpResponse:
    page = Paginator(products.defer("description"), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "shop/catalogue.html", {"page": page, "products": with_stock(page), **context})
