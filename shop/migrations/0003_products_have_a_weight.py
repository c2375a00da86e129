from django.core.validators import MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_orders_belong_to_their_saga")]
    operations = [
        # The least that a carrier takes: with 0 no order of it could be shipped.
        migrations.RunSQL("UPDATE shop_product SET weight_grams = 1 WHERE weight_grams = 0", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="product",
            name="weight_grams",
            field=models.PositiveIntegerField(
                "weight", validators=[MinValueValidator(1)], help_text="In grams, packed."
            ),
        ),
        migrations.AddConstraint(
            model_name="product",
            constraint=models.CheckConstraint(condition=models.Q(weight_grams__gt=0), name="product_weight_positive"),
        ),
    ]
