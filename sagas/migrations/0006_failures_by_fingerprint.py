"""What failed is found by how it failed, and the newest of it first."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sagas', '0005_tally'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='stepattempt',
            index=models.Index(condition=models.Q(('fingerprint', ''), _negated=True), fields=['-id'], name='attempt_failed'),
        ),
        migrations.AddIndex(
            model_name='stepattempt',
            index=models.Index(condition=models.Q(('fingerprint', ''), _negated=True), fields=['fingerprint', '-id'], name='attempt_by_fingerprint'),
        ),
    ]
