{{ config(materialized='view') }}

-- what cubes need (names come last, of each row of a cube);
-- what claims to be measured on a later day than the build's waits for that day
select
    tenant_id,
    site_id,
    device_id,
    metric,
    measured_at,
    reading_date,
    local_day,
    value,
    value_text,
    unit,
    is_valid,
    invalid_reason,
    received_count,
    received_at,
    load_id
from {{ ref('fct_readings') }}
where reading_date <= (select day from {{ source('build', 'as_of') }})
