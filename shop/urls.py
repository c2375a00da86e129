"""The storefront's addresses."""

from django.urls import path

from shop.views import accounts, after_sales, cart, catalogue, checkout, orders

app_name = "shop"

urlpatterns = [
    path("", catalogue.home, name="home"),
    path("search/", catalogue.search, name="search"),
    path("category/<slug:slug>/", catalogue.category, name="category"),
    path("product/<slug:slug>/", catalogue.product, name="product"),
    path("cart/", cart.show, name="cart"),
    path("cart/add/<slug:slug>/", cart.add, name="cart-add"),
    path("cart/change/<slug:slug>/", cart.change, name="cart-change"),
    path("checkout/", checkout.checkout, name="checkout"),
    path("orders/", orders.history, name="orders"),
    path("orders/<slug:number>/", orders.show, name="order"),
    path("orders/<slug:number>/status/", orders.status, name="order-status"),
    path("orders/<slug:number>/cancel/", after_sales.cancel, name="order-cancel"),
    path("orders/<slug:number>/address/", after_sales.readdress, name="order-address"),
    path("orders/<slug:number>/return/", after_sales.give_back, name="order-return"),
    path("orders/<slug:number>/open/<slug:token>/", orders.open_with_token, name="order-open"),
    path("account/sign-up/", accounts.sign_up, name="sign-up"),
    path("account/login/", accounts.Login.as_view(), name="login"),
    path("account/logout/", accounts.Logout.as_view(), name="logout"),
    path("account/password/", accounts.ChangePassword.as_view(), name="password"),
]
