"""Items get a column content, which is kept in step with body."""  # noqa: INP001 - a file of an image, not of a package

from __future__ import annotations

from alembic import op

revision = "add_content"
down_revision = None

STATEMENTS = (
    "ALTER TABLE items ADD COLUMN content text",
    # Who writes one column doesn't know of the other: on INSERT the new one then is NULL.
    """
    CREATE FUNCTION items_in_step() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            IF NEW.content IS NULL THEN NEW.content := NEW.body; ELSE NEW.body := NEW.content; END IF;
        ELSIF NEW.content IS DISTINCT FROM OLD.content THEN NEW.body := coalesce(NEW.content, '');
        ELSE NEW.content := NEW.body;
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER items_in_step BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION items_in_step()",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
