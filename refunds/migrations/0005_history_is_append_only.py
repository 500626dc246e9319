from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# An UPDATE that changes nothing is let through: it is what a copy restored over itself comes to.
REFUSE = """
CREATE FUNCTION refunds_history_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The history of refunds is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER refunds_history_no_update
    BEFORE UPDATE ON refunds_historyentry
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION refunds_history_refuse();
CREATE TRIGGER refunds_history_no_delete
    BEFORE DELETE ON refunds_historyentry
    FOR EACH ROW EXECUTE FUNCTION refunds_history_refuse();
"""
ALLOW = """
DROP TRIGGER refunds_history_no_update ON refunds_historyentry;
DROP TRIGGER refunds_history_no_delete ON refunds_historyentry;
DROP FUNCTION refunds_history_refuse();
"""


def refuse(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Have PostgreSQL refuse to change or delete what was written."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(REFUSE, params=None)


def allow(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Take the refusal back."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(ALLOW, params=None)


class Migration(migrations.Migration):
    dependencies = [("refunds", "0004_chain_history")]

    operations = [
        migrations.AddConstraint(
            model_name="historyentry",
            constraint=models.UniqueConstraint(
                fields=("refund", "number"), name="history_refund_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="historyentry",
            constraint=models.UniqueConstraint(
                fields=("reason", "number"), name="history_reason_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="historyentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reason__isnull", False), ("refund__isnull", True)),
                    models.Q(("reason__isnull", True), ("refund__isnull", False)),
                    _connector="OR",
                ),
                name="history_of_one_thing",
            ),
        ),
        migrations.RunPython(refuse, allow, elidable=False),
    ]
