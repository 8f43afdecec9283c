{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_partitions', 'day': 'cast(hour_start as date)', 'instant': 'hour_start'},
) }}

-- grain: tenant, site, device, metric, UTC hour
with hourly as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        date_trunc('hour', measured_at) as hour_start,
        {{ reading_measures() }}
    from {{ ref('int_readings_to_date') }}
    where {{ in_touched('touched_partitions', 'reading_date') }}
        and {{ near_touched('touched_partitions', 'reading_date', 0) }}
    group by tenant_id, site_id, device_id, metric, unit, date_trunc('hour', measured_at)
),

placed as (
    select
        {{ reading_labels('hourly') }},
        hourly.hour_start,
        local_hours.hour_start_local,
        hourly.reading_count,
        hourly.valid_count,
        3600 / rules.interval_seconds as expected_count,
        hourly.value_avg,
        hourly.value_min,
        hourly.value_max,
        hourly.value_sum,
        hourly.value_first,
        hourly.value_last,
        hourly.value_stddev
    from hourly
    {{ join_labels('hourly') }}
    left join {{ ref('int_local_hours') }} as local_hours
        on hourly.hour_start = local_hours.hour_start and coalesce(sites.timezone, 'UTC') = local_hours.timezone
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    device_id,
    device_name,
    metric,
    metric_label,
    unit,
    hour_start,
    hour_start_local,
    cast(hour_start_local as date) as local_day,
    cast(extract(hour from hour_start_local) as integer) as local_hour,
    reading_count,
    valid_count,
    expected_count,
    value_avg,
    value_min,
    value_max,
    value_sum,
    value_first,
    value_last,
    value_stddev
from placed
{% if not is_incremental() -%}
order by hour_start, tenant_id
{%- endif %}
