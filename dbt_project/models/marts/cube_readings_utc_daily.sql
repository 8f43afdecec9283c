{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'carried_partitions', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'day'],
) }}

-- grain: tenant, site, device, metric, UTC day
with finer as (
    select
        *,
        cast(hour_start as date) as day,
        min(value_avg) over (
            partition by tenant_id, device_id, metric, cast(hour_start as date)
        ) as least_avg
    from {{ ref('cube_readings_hourly') }}
    where {{ in_touched('carried_partitions', 'cast(hour_start as date)') }}
        and {{ near_touched('carried_partitions', 'hour_start', 0) }}
)

select
    {{ series_columns() }},
    day,
    {{ rolled_up_measures('hour_start') }}
from finer
group by {{ series_columns() }}, day
order by day, tenant_id
