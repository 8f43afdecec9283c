{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'carried_partitions', 'day': 'cast(hour_start as date)', 'instant': 'hour_start'},
) }}

-- grain: tenant, level (site or tenant), site, metric, UTC hour
select
    {{ site_and_tenant_columns() }},
    hour_start,
    {{ devices_measures() }}
from {{ ref('cube_readings_hourly') }}
where {{ in_touched('carried_partitions', 'cast(hour_start as date)') }}
    and {{ near_touched('carried_partitions', 'hour_start', 0) }}
{{ by_site_and_tenant('hour_start') }}
order by hour_start, tenant_id
