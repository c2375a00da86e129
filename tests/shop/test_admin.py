from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from shop.models import Product


def test_a_product_without_a_weight_is_refused_where_it_is_entered(admin_client: Client, mug: Product) -> None:
    fields = ("sku", "name", "slug", "category_id", "price_amount", "currency")
    entered: dict[str, Any] = {name.removesuffix("_id"): getattr(mug, name) for name in fields}

    response = admin_client.post(f"/admin/shop/product/{mug.pk}/change/", {**entered, "weight_grams": 0})

    assert list(response.context["adminform"].form.errors) == ["weight_grams"]
    mug.refresh_from_db()
    assert mug.weight_grams == 300


def test_the_database_keeps_no_product_without_a_weight(mug: Product) -> None:
    with pytest.raises(IntegrityError, match="product_weight_positive"), transaction.atomic():
        Product.objects.update(weight_grams=0)


@pytest.mark.parametrize("page", ["product", "category"])
@pytest.mark.parametrize("ticked", ["abc", "", "1.5", "\0"])
def test_what_is_ticked_and_is_no_number_is_a_bad_request(
    admin_client: Client, mug: Product, page: str, ticked: str
) -> None:
    action = {"product": "take_off_sale", "category": "delete_selected"}[page]

    response = admin_client.post(f"/admin/shop/{page}/", {"action": action, "_selected_action": [mug.pk, ticked]})

    assert response.status_code == 400
    mug.refresh_from_db()
    assert mug.is_active
