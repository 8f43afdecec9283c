{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'carried_partitions', 'day': 'cast(hour_start as date)', 'instant': 'hour_start'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'hour_start'],
) }}

-- grain: tenant, site, device, metric, UTC hour
with hours as (
    select *, date_trunc('hour', measured_at) as hour_start
    from {{ ref('int_readings_in_order') }}
    where {{ in_touched('carried_partitions', 'reading_date') }}
),

hourly as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        kind,
        unit,
        hour_start,
        {{ reading_measures('hour_start', '(hour_start + interval 1 hour)') }}
    from hours
    group by tenant_id, site_id, device_id, metric, kind, unit, hour_start
),

placed as (
    select
        {{ reading_labels('hourly') }},
        hourly.kind,
        hourly.hour_start,
        local_hours.hour_start_local,
        hourly.reading_count,
        hourly.valid_count,
        3600 / rules.interval_seconds as expected_count,
        {{ finished_measures('hourly') }}
    from hourly
    {{ join_labels('hourly') }}
    left join {{ ref('int_local_hours') }} as local_hours
        on hourly.hour_start = local_hours.hour_start and coalesce(sites.timezone, 'UTC') = local_hours.timezone
)

select
    * exclude (hour_start_local),
    hour_start_local,
    cast(hour_start_local as date) as local_day,
    cast(extract(hour from hour_start_local) as integer) as local_hour
from placed
-- days lie together, so that replacing one leaves the storage of the others alone
order by hour_start, tenant_id
