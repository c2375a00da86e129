"""Accounts: sign up, log in, log out, change the password."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from shop.forms import ADDRESS_TAKEN, LoginForm, ShopFormRenderer, SignUpForm


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """A new account, logged in at once. The cart comes along."""
    if request.user.is_authenticated:
        return redirect("shop:orders")
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        try:
            with transaction.atomic():
                user = form.save()
        except IntegrityError:
            # Somebody took the address after the form had looked.
            form.add_error("email", ADDRESS_TAKEN)
        else:
            login(request, user, backend="django.contrib.auth.backends.ModelBackend")
            messages.success(request, "Welcome! Your account is ready.")
            return redirect("shop:home")
    return render(request, "registration/sign_up.html", {"form": form}, status=422 if form.errors else 200)


class Login(LoginView):
    authentication_form = LoginForm
    redirect_authenticated_user = True


class Logout(LogoutView):
    """Also forgets the orders and the cart of this session."""


class _PasswordForm(PasswordChangeForm):
    default_renderer = ShopFormRenderer


class ChangePassword(PasswordChangeView):
    """Every other session of the account ends with the old password."""

    form_class = _PasswordForm
    template_name = "registration/password_change.html"
    success_url = reverse_lazy("shop:orders")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        messages.success(self.request, "Your password is changed.")
        return super().form_valid(form)
