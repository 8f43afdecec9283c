-- Which tables are there, and what is in each?
-- Every table of your snapshot with its rows and columns. Cubes are sums made beforehand, at the grain that their name
-- says; fct_readings holds the single readings.
select
    table_name,
    estimated_size as row_count,
    column_count,
    comment as description
from duckdb_tables()
where schema_name = 'main' and not internal
order by table_name
