"""/api/v1/ of the shop."""

from django.urls import path

from shop.api.after_sales import OrderAddress, OrderCancel, OrderReturns, ReturnInspection, ReturnReceived
from shop.api.auth import Login, Logout
from shop.api.orders import OrderDetail, OrderList
from shop.api.products import ProductDetail, ProductList
from shop.api.webhooks import PaymentWebhook, ShippingWebhook

urlpatterns = [
    path("products/", ProductList.as_view(), name="api-products"),
    path("products/<slug:sku>/", ProductDetail.as_view(), name="api-product"),
    path("orders/", OrderList.as_view(), name="api-orders"),
    path("orders/<slug:number>/", OrderDetail.as_view(), name="api-order"),
    path("orders/<slug:number>/cancel/", OrderCancel.as_view(), name="api-order-cancel"),
    path("orders/<slug:number>/address/", OrderAddress.as_view(), name="api-order-address"),
    path("orders/<slug:number>/returns/", OrderReturns.as_view(), name="api-order-returns"),
    path("orders/<slug:number>/returns/received/", ReturnReceived.as_view(), name="api-return-received"),
    path("orders/<slug:number>/returns/inspection/", ReturnInspection.as_view(), name="api-return-inspection"),
    path("webhooks/payments/", PaymentWebhook.as_view(), name="api-payment-webhook"),
    path("webhooks/shipping/", ShippingWebhook.as_view(), name="api-shipping-webhook"),
    path("auth/login/", Login.as_view(), name="api-login"),
    path("auth/logout/", Logout.as_view(), name="api-logout"),
]
