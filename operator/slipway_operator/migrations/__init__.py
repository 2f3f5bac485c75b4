"""SchemaMigration: a database is brought to the schema that an image needs, while the pods that use it run on."""
