{{ config(
    materialized='incremental', incremental_strategy='replace_touched', database=target.database,
    touched_by={'scope': 'touched_partitions', 'day': 'reading_date'},
) }}

-- grain: tenant, device, metric, UTC day and local day with a valid reading: what the next one goes on from
select
    tenant_id,
    device_id,
    metric,
    reading_date,
    local_day,
    min(measured_at) as first_at,
    max(measured_at) as last_at,
    arg_max(value, measured_at) as last_value,
    arg_max(value_text, measured_at) as last_text
from {{ ref('int_readings_to_date') }}
where is_valid
    and {{ in_touched('touched_partitions', 'reading_date') }}
    and {{ near_touched('touched_partitions', 'reading_date', 0) }}
group by tenant_id, device_id, metric, reading_date, local_day
