"""Where dbt builds, for sqlfluff, which reads the models without dbt."""

database = "warehouse"
