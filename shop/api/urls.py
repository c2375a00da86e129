"""/api/v1/ of the shop."""

from django.urls import path

from shop.api.auth import Login, Logout
from shop.api.orders import OrderDetail, OrderList
from shop.api.products import ProductDetail, ProductList
from shop.api.webhooks import PaymentWebhook, ShippingWebhook

urlpatterns = [
    path("products/", ProductList.as_view(), name="api-products"),
    path("products/<slug:sku>/", ProductDetail.as_view(), name="api-product"),
    path("orders/", OrderList.as_view(), name="api-orders"),
    path("orders/<slug:number>/", OrderDetail.as_view(), name="api-order"),
    path("webhooks/payments/", PaymentWebhook.as_view(), name="api-payment-webhook"),
    path("webhooks/shipping/", ShippingWebhook.as_view(), name="api-shipping-webhook"),
    path("auth/login/", Login.as_view(), name="api-login"),
    path("auth/logout/", Logout.as_view(), name="api-logout"),
]
