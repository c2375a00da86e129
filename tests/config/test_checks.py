"""Without DEBUG nothing made up gets into production."""

import os
import subprocess
import sys

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from config import checks


@pytest.fixture
def production(settings):
    """Settings with which a real shop would start."""
    settings.DEBUG = False
    settings.SANDBOX = False
    settings.SECRET_KEY = "3kD0-vVx9rT2w_Qm5yUo8sLh1pZc6bNa4eGj7iFt0uKd9xWq2R"
    settings.BANK_URL = "https://api.stripe.com"
    settings.BANK_API_KEY = "rk_live_4eC39HqLyjWDarjtT1zdp7dc"
    settings.BANK_WEBHOOK_SECRETS = ["whsec_9f8e7d6c"]
    settings.CARRIER_URL = "https://api.easypost.com"
    settings.CARRIER_API_KEY = "EZAK_5f3b2a"
    settings.CARRIER_WEBHOOK_SECRETS = ["whsec_1a2b3c"]
    settings.DATABASE_URL = "postgres://shop:t0Rk9vLq@db.internal/shop"
    return settings


@pytest.fixture
def database_password(settings):
    database = settings.DATABASES["default"]
    before = {name: database.get(name, "") for name in ("USER", "PASSWORD")}
    yield lambda user, password: database.update(USER=user, PASSWORD=password)
    database.update(before)


def errors():
    return [(error.id, error.msg) for error in run_checks(tags=[checks.PRODUCTION]) if error.is_serious()]


def test_a_real_shop_starts(production):
    assert errors() == []


def test_the_secret_key_of_the_source_code_is_refused(production):
    production.SECRET_KEY = production.INSECURE_SECRET_KEY

    assert [id for id, _ in errors()] == ["config.E001"]


def test_the_sandbox_is_refused(production):
    production.SANDBOX = True

    assert [id for id, _ in errors()] == ["config.E002"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BANK_API_KEY", "sk_test_sandbox"),
        ("BANK_API_KEY", ""),
        ("BANK_WEBHOOK_SECRETS", ["whsec_sandbox"]),
        ("BANK_WEBHOOK_SECRETS", ["whsec_9f8e7d6c", "whsec_sandbox"]),
        ("BANK_WEBHOOK_SECRETS", []),
        ("CARRIER_API_KEY", "EZTK_sandbox"),
        ("CARRIER_WEBHOOK_SECRETS", ["whsec_sandbox"]),
    ],
)
def test_credentials_of_the_sandbox_are_refused(production, name, value):
    setattr(production, name, value)

    assert errors() == [("config.E003", f"{name} is empty or the sandbox's.")]


@pytest.mark.parametrize(
    "url", ["http://api.stripe.com", "https://127.0.0.1:8001", "https://[::1]", "https://localhost", ""]
)
def test_a_bank_on_this_machine_or_without_tls_is_refused(production, url):
    production.BANK_URL = url

    assert errors() == [("config.E004", f"BANK_URL is {url!r}: not a service on the internet over https.")]


@pytest.mark.parametrize(("user", "password"), [("shop", "postgres"), ("shop", "Password"), ("zoe", "zoe")])
def test_a_database_password_everybody_tries_is_refused(production, database_password, user, password):
    database_password(user, password)

    assert errors() == [("config.E005", "The password in DATABASE_URL is one that everybody tries first.")]


def test_a_missing_database_is_refused(production):
    production.DATABASE_URL = production.NO_DATABASE_URL

    assert errors() == [("config.E005", "DATABASE_URL is not set.")]


@pytest.mark.django_db
@pytest.mark.parametrize("name", checks.DEMONSTRATION_USERS)
def test_the_users_of_a_demonstration_are_refused(production, name):
    admin = get_user_model().objects.create_superuser(name, "", name)
    assert [error.id for error in checks.check_demonstration_users(None, databases=["default"])] == ["config.E006"]

    admin.set_password("Tq7-another")
    admin.save()

    assert checks.check_demonstration_users(None, databases=["default"]) == []


def test_everything_is_allowed_while_debug(production):
    production.DEBUG = True
    production.SANDBOX = True
    production.SECRET_KEY = production.INSECURE_SECRET_KEY
    production.BANK_URL = "http://127.0.0.1:8001"

    assert errors() == []


@pytest.mark.django_db(transaction=True)
def test_the_refusal_says_every_way_out(production):
    production.SECRET_KEY = production.INSECURE_SECRET_KEY
    production.BANK_API_KEY = "sk_test_sandbox"

    with pytest.raises(ImproperlyConfigured) as refusal:
        checks.refuse_unsafe_production()

    assert "Set SECRET_KEY to 50 random characters" in str(refusal.value)
    assert "Set BANK_API_KEY to the value of your account at the bank." in str(refusal.value)


@pytest.mark.parametrize("arguments", [["manage.py", "check"], ["-c", "import config.wsgi"]])
def test_a_process_with_default_settings_does_not_start(tmp_path, arguments):
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}

    process = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert process.returncode == 1
    assert "Set SECRET_KEY to 50 random characters" in process.stderr
    assert "Set DATABASE_URL=postgres://user:password@host/name." in process.stderr
    assert "Set BANK_API_KEY" in process.stderr
