select
    tenant_id,
    cast(reading_date as date) as reading_date,
    site_id,
    device_id,
    metric,
    {{ utc_timestamp('measured_at') }} as measured_at,
    value,
    value_text,
    unit,
    {{ utc_timestamp('received_at') }} as received_at,
    load_id,
    source,
    source_row
from {{ source('lake', 'readings') }}
