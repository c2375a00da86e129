"""The catalogue for client programs."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from shop.api.serializers import ProductFilter, ProductSerializer
from shop.models import Product
from shop.selectors import products_for_sale, search_products, with_stock


class _Products(generics.GenericAPIView[Product]):
    # Everybody sees the same: no credentials are read, none can be wrong.
    authentication_classes = ()
    permission_classes = (AllowAny,)
    serializer_class = ProductSerializer

    def documents(self, products: list[Product]) -> list[dict[str, Any]]:
        """The products with their stock, in one query for all of them."""
        available = {product.sku: available for product, available in with_stock(products)}
        context = {**self.get_serializer_context(), "available": available}
        return [ProductSerializer(product, context=context).data for product in products]


class ProductList(_Products):
    page_ordering = ("name", "id")

    @extend_schema(
        operation_id="list_products",
        summary="List the products for sale",
        tags=["products"],
        parameters=[ProductFilter],
        responses=ProductSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """In the order of names, a page at a time. A search finds products that have every word of it."""
        asked = ProductFilter(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        page = self.paginate_queryset(_matching(**asked.validated_data))
        assert page is not None
        return self.get_paginated_response(self.documents(list(page)))


class ProductDetail(_Products):
    lookup_field = lookup_url_kwarg = "sku"
    queryset = products_for_sale()

    @extend_schema(operation_id="get_product", summary="Show a product", tags=["products"])
    def get(self, request: Request, sku: str) -> Response:
        """A product that is for sale, with how many can be ordered right now."""
        [document] = self.documents([self.get_object()])
        return Response(document)


def _matching(category: str = "", search: str = "") -> QuerySet[Product]:
    products = search_products(search) if search else products_for_sale()
    return products.filter(category__slug=category) if category else products
