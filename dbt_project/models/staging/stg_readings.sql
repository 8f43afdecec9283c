select
    tenant_id,
    cast(reading_date as date) as reading_date,
    site_id,
    device_id,
    metric,
    measured_at at time zone 'UTC' as measured_at,
    value,
    value_text,
    received_at at time zone 'UTC' as received_at,
    load_id,
    source,
    source_row
from {{ source('lake', 'readings') }}
