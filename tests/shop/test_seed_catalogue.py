from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from inventory import services as inventory
from inventory.models import StockItem
from inventory.selectors import available, stock_violations
from shop.models import Category, Product

pytestmark = pytest.mark.django_db


def test_the_demonstration_has_thirty_products_in_five_categories_with_pictures_and_stock() -> None:
    call_command("seed_catalogue", verbosity=0)

    products = list(Product.objects.all())
    assert len(products) >= 30
    assert Category.objects.count() == 5
    assert len({product.image for product in products}) == len(products)
    assert all((Path(settings.BASE_DIR) / "static" / product.image).is_file() for product in products)
    assert sum(amount > 0 for amount in available(product.sku for product in products).values()) >= 30
    assert stock_violations() == []


def test_a_second_run_changes_nothing() -> None:
    call_command("seed_catalogue", verbosity=0)
    Product.objects.filter(sku="KIT-MUG").update(price_amount=1)
    inventory.write_off("KIT-MUG", 20, "broken")
    before = list(Product.objects.values()), list(StockItem.objects.values("sku", "on_hand"))

    call_command("seed_catalogue", verbosity=0)

    assert (list(Product.objects.values()), list(StockItem.objects.values("sku", "on_hand"))) == before
