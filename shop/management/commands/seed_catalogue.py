"""Puts the demonstration catalogue on the shelves."""

import tomllib
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils.text import slugify

from inventory import services as inventory
from shop.models import Category, Product

CATALOGUE = Path(__file__).resolve().parents[2] / "demonstration" / "catalogue.toml"


class Command(BaseCommand):
    help = "Add the demonstration catalogue: categories, products and their first stock. What is there stays as it is."

    def handle(self, **options: Any) -> None:
        added = seed(tomllib.loads(CATALOGUE.read_text(encoding="utf-8")))
        self.stdout.write(f"{added} products added, {Product.objects.count()} in the catalogue.")


@transaction.atomic
def seed(catalogue: dict[str, Any]) -> int:
    """Add what is missing and say how many products that were. Prices and stock of the others are not touched."""
    present = set(Product.objects.values_list("sku", flat=True))
    added = 0
    for position, shelf in enumerate(catalogue["category"]):
        category, _ = Category.objects.get_or_create(
            slug=shelf["slug"],
            defaults={"name": shelf["name"], "description": shelf["description"], "position": position},
        )
        for entry in shelf["product"]:
            if entry["sku"] not in present:
                _add(category, entry)
                added += 1
    return added


def _add(category: Category, entry: dict[str, Any]) -> None:
    slug = slugify(entry["name"])
    Product.objects.create(
        sku=entry["sku"],
        name=entry["name"],
        slug=slug,
        description=entry["description"],
        category=category,
        price_amount=entry["price"],
        currency="EUR",
        weight_grams=entry["weight"],
        image=f"shop/products/{slug}.svg",
    )
    # In the commit that adds the product: a second run, even beside this one, receives nothing twice.
    if entry["stock"]:
        inventory.receive(entry["sku"], entry["stock"], note="first stock")
