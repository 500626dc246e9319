"""Make the permission set's group, the leads' group and the first list of reasons."""

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

GROUPS = {
    "DigitalRiver Connector – Refunds": ("issue_refund", "view_order", "view_refund"),
    "Refund leads": ("approve_refund", "view_order", "view_refund"),
}

#: Label, what Digital River gets, whether the rep must write the words.
REASONS = (
    ("Requested by customer", "requested_by_customer", False),
    ("Duplicate order", "duplicate", False),
    ("Item not received", "item_not_received", False),
    ("Item damaged or defective", "item_damaged_or_defective", False),
    ("Wrong item sent", "wrong_item_sent", False),
    ("Returned by customer", "returned_by_customer", False),
    ("Late delivery", "late_delivery", False),
    ("Price adjustment", "price_adjustment", False),
    ("Tax exemption", "tax_exemption", False),
    ("Duty or importer tax correction", "duty_or_importer_tax_correction", False),
    ("Other", "other", True),
)


def make(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # Permissions are otherwise only made after all migrations have run.
    config = apps.get_app_config("refunds")
    config.models_module = True  # type: ignore[assignment]
    create_permissions(config, apps=apps, verbosity=0, using=schema_editor.connection.alias)
    config.models_module = None
    permission = apps.get_model("auth", "Permission")
    group = apps.get_model("auth", "Group")
    for name, codenames in GROUPS.items():
        made, _ = group.objects.get_or_create(name=name)
        made.permissions.add(
            *permission.objects.filter(content_type__app_label="refunds", codename__in=codenames)
        )
    reason = apps.get_model("refunds", "RefundReason")
    for position, (label, wire_text, needs_text) in enumerate(REASONS, start=1):
        reason.objects.get_or_create(
            label=label,
            defaults={
                "wire_text": wire_text,
                "needs_text": needs_text,
                "position": position * 10,
            },
        )


class Migration(migrations.Migration):
    dependencies = [
        ("refunds", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
