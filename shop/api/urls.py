"""/api/v1/ of the shop."""

from django.urls import path

from shop.api.auth import Login, Logout
from shop.api.orders import OrderDetail, OrderList
from shop.api.products import ProductDetail, ProductList

urlpatterns = [
    path("products/", ProductList.as_view(), name="api-products"),
    path("products/<slug:sku>/", ProductDetail.as_view(), name="api-product"),
    path("orders/", OrderList.as_view(), name="api-orders"),
    path("orders/<slug:number>/", OrderDetail.as_view(), name="api-order"),
    path("auth/login/", Login.as_view(), name="api-login"),
    path("auth/logout/", Logout.as_view(), name="api-logout"),
]
