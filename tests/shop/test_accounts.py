import pytest
from django.contrib.auth.models import User
from django.test import Client

from shop.forms import ADDRESS_TAKEN, SignUpForm

GOOD = {"email": "new@example.org", "password1": "a long quiet phrase", "password2": "a long quiet phrase"}


@pytest.mark.django_db
def test_somebody_signs_up_and_is_logged_in(client: Client) -> None:
    response = client.post("/account/sign-up/", {**GOOD, "email": "New@Example.org"}, follow=True)

    user = User.objects.get()
    assert (user.username, user.email, user.is_staff, user.is_superuser) == (
        "new@example.org",
        "new@example.org",
        False,
        False,
    )
    assert response.context["user"] == user
    assert "Your account is ready." in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("typed", ["ada@mu\u0308nchen.de", "\u017fam@example.org"])
def test_whoever_signs_up_logs_in_with_the_same_keys_however_their_keyboard_spells_letters(
    client: Client, typed: str
) -> None:
    client.post("/account/sign-up/", {**GOOD, "email": typed})

    response = Client().post("/account/login/", {"username": typed, "password": GOOD["password1"]})

    assert (response.status_code, User.objects.count()) == (302, 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": ""}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": "ADA@example.org"}, "email"),
        ({"email": f"{'a' * 160}@example.org"}, "email"),
        ({"password2": "another"}, "password2"),
        ({"password1": "password", "password2": "password"}, "password2"),
    ],
)
def test_a_bad_sign_up_names_its_field_and_makes_no_account(
    client: Client, ada: User, changes: dict[str, str], field: str
) -> None:
    response = client.post("/account/sign-up/", {**GOOD, **changes, "is_staff": "1", "is_superuser": "1"})

    assert response.status_code == 422
    assert list(response.context["form"].errors) == [field]
    assert list(User.objects.all()) == [ada]


@pytest.mark.django_db
def test_an_address_that_is_taken_while_its_form_is_checked_is_taken(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = SignUpForm.is_valid

    def somebody_is_faster(form: SignUpForm) -> bool:
        is_valid = check(form)
        User.objects.create_user(GOOD["email"], GOOD["email"], "another phrase")
        return is_valid

    monkeypatch.setattr(SignUpForm, "is_valid", somebody_is_faster)
    response = client.post("/account/sign-up/", GOOD)

    assert response.status_code == 422
    assert response.context["form"].errors == {"email": [ADDRESS_TAKEN]}
    assert User.objects.get().check_password("another phrase")
    assert not response.wsgi_request.user.is_authenticated


def test_login_is_by_e_mail_in_any_case(client: Client, ada: User) -> None:
    response = client.post(
        "/account/login/", {"username": "Ada@Example.org", "password": "a quiet pass phrase", "next": "/orders/"}
    )

    assert (response.status_code, response.url) == (302, "/orders/")


def test_login_does_not_lead_to_another_site(client: Client, ada: User) -> None:
    response = client.post(
        "/account/login/?next=https://evil.example/",
        {"username": "ada@example.org", "password": "a quiet pass phrase", "next": "https://evil.example/"},
    )

    assert response.url == "/"


def test_a_wrong_password_says_no_more_than_a_wrong_name(client: Client, ada: User) -> None:
    def errors(name: str) -> list[str]:
        response = client.post("/account/login/", {"username": name, "password": "wrong"})
        return response.context["form"].non_field_errors()

    assert errors("ada@example.org") == errors("nobody@example.org")
    assert len(errors("ada@example.org")) == 1


def test_logout_is_a_post(as_ada: Client) -> None:
    assert as_ada.get("/account/logout/").status_code == 405
    assert as_ada.post("/account/logout/").url == "/"
    assert as_ada.get("/orders/").status_code == 302


def test_a_new_password_ends_the_other_sessions(as_ada: Client, ada: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(ada)

    response = as_ada.post(
        "/account/password/",
        {
            "old_password": "a quiet pass phrase",
            "new_password1": "an even quieter one",
            "new_password2": "an even quieter one",
        },
    )

    assert (response.status_code, response.url) == (302, "/orders/")
    assert as_ada.get("/orders/").status_code == 200
    assert elsewhere.get("/orders/").status_code == 302
