"""What shoppers type. Prices are not among it: the catalogue knows them."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm
from django.contrib.auth.models import User
from django.forms.renderers import TemplatesSetting

from shop.countries import COUNTRIES
from shop.models import MAX_QUANTITY, MAX_REASON, Order
from shop.services import Address
from shop.text import one_line

if TYPE_CHECKING:
    UserCreationForm = BaseUserCreationForm[User]
else:
    UserCreationForm = BaseUserCreationForm

# The card tokens every test account of Stripe knows; the sandbox bank knows them too.
TEST_CARDS = (
    ("pm_card_visa", "Visa ending in 4242: pays"),
    ("pm_card_chargeDeclined", "Visa ending in 0002: the bank declines"),
    ("pm_card_chargeDeclinedInsufficientFunds", "Visa ending in 9995: not enough money"),
)


class ShopFormRenderer(TemplatesSetting):
    """Draws our field group: label, help, error and input, tied together for screen readers."""

    field_template_name = "shop/forms/field.html"


class QuantityForm(forms.Form):
    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY, initial=1)


class LineForm(forms.Form):
    """A new quantity for a line of the cart; 0 takes it out."""

    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class Text(forms.CharField):
    """Text on one line, as the API takes it; spaces around it are taken off."""

    default_validators = [one_line]


class AddressForm(forms.Form):
    """Where a parcel goes."""

    default_renderer = ShopFormRenderer

    name = Text(label="Full name", max_length=100, widget=forms.TextInput({"autocomplete": "name"}))
    line1 = Text(label="Street and number", max_length=120, widget=forms.TextInput({"autocomplete": "address-line1"}))
    line2 = Text(
        label="Flat, floor, company (optional)",
        max_length=120,
        required=False,
        widget=forms.TextInput({"autocomplete": "address-line2"}),
    )
    postal_code = Text(label="Postal code", max_length=16, widget=forms.TextInput({"autocomplete": "postal-code"}))
    city = Text(label="City", max_length=80, widget=forms.TextInput({"autocomplete": "address-level2"}))
    country = forms.ChoiceField(
        label="Country", choices=COUNTRIES, initial="DE", widget=forms.Select({"autocomplete": "country"})
    )

    @property
    def address(self) -> Address:
        parts = ("name", "line1", "line2", "city", "postal_code", "country")
        return Address(**{part: self.cleaned_data[part] for part in parts})


class CheckoutForm(AddressForm):
    """Who gets it, where it goes, and how it is paid."""

    field_order = ("email",)

    email = forms.EmailField(
        label="E-mail",
        max_length=254,
        validators=[one_line],
        help_text="For the confirmation. We write about this order only.",
        widget=forms.EmailInput({"autocomplete": "email"}),
    )
    payment_method = forms.ChoiceField(label="Test card", widget=forms.RadioSelect)
    seen = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cards = self.fields["payment_method"]
        assert isinstance(cards, forms.ChoiceField)
        cards.choices = TEST_CARDS if settings.SANDBOX or settings.DEBUG else ()
        cards.initial = TEST_CARDS[0][0]

    @property
    def takes_payments(self) -> bool:
        return bool(self.fields["payment_method"].choices)  # type: ignore[attr-defined]


class WishForm(forms.Form):
    """Why an order is to be cancelled or returned, if the shopper wants to say."""

    default_renderer = ShopFormRenderer

    reason = Text(label="Why? (optional)", max_length=MAX_REASON, required=False)


def address_of(order: Order | None) -> dict[str, str]:
    """The address of an earlier order as a form's initial values."""
    if order is None:
        return {}
    parts = ("name", "line1", "line2", "city", "postal_code", "country")
    return {part: getattr(order, f"ship_{part}") for part in parts}


ADDRESS_TAKEN = "There is an account with this address. Log in instead."


class SignUpForm(UserCreationForm):
    """An account is an e-mail address and a password; the address is also the user name."""

    default_renderer = ShopFormRenderer

    class Meta:
        model = User
        fields = ("email",)
        labels = {"email": "E-mail"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].required = True
        self.fields["email"].widget.attrs = {"autocomplete": "username"}

    def clean_email(self) -> str:
        # Spelled as the login spells what is typed there.
        email = str(User.normalize_username(self.cleaned_data["email"])).lower()
        if len(email) > 150:
            raise forms.ValidationError("This address is too long for an account.")
        if User.objects.filter(username=email).exists():
            raise forms.ValidationError(ADDRESS_TAKEN)
        return email

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)
        user.username = user.email
        if commit:
            user.save()
        return user


class LoginForm(AuthenticationForm):
    default_renderer = ShopFormRenderer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "E-mail or user name"

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        return name.lower() if "@" in name else name
