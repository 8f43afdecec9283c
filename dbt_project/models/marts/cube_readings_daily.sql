{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'day'],
) }}

-- grain: tenant, site, device, metric, day of the site's zone on which a value came or was due
with readings as (
    select
        readings.*,
        coalesce(site_days.day_start, readings.local_day) as day_start,
        coalesce(site_days.day_end, readings.local_day + 1) as day_end
    from {{ ref('int_readings_in_order') }} as readings
    left join {{ ref('int_site_days') }} as site_days
        on readings.tenant_id = site_days.tenant_id
        and readings.site_id = site_days.site_id
        and readings.local_day = site_days.day
),

came as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        local_day as day,
        {{ reading_measures('day_start', 'day_end') }}
    from readings
    group by tenant_id, site_id, device_id, metric, kind, unit, local_day
),

due as (
    select days.tenant_id, days.site_id, days.device_id, rules.metric, rules.unit, days.day
    from {{ ref('int_device_days') }} as days
    inner join {{ ref('stg_device_metrics') }} as rules
        on days.tenant_id = rules.tenant_id and days.device_id = rules.device_id
    where days.is_in_service and rules.interval_seconds is not null
),

daily as (
    select
        coalesce(came.tenant_id, due.tenant_id) as tenant_id,
        coalesce(came.site_id, due.site_id) as site_id,
        coalesce(came.device_id, due.device_id) as device_id,
        coalesce(came.metric, due.metric) as metric,
        coalesce(came.unit, due.unit) as unit,
        coalesce(came.day, due.day) as day,
        came.* exclude (tenant_id, site_id, device_id, metric, unit, day)
    from came
    full join due
        on came.tenant_id = due.tenant_id
        and came.device_id = due.device_id
        and came.metric = due.metric
        and came.day = due.day
)

select
    {{ reading_labels('daily') }},
    coalesce(metrics.kind, 'gauge') as kind,
    daily.day,
    coalesce(daily.reading_count, 0) as reading_count,
    coalesce(daily.valid_count, 0) as valid_count,
    {{ local_day_seconds('daily.day', "coalesce(sites.timezone, 'UTC')") }} / rules.interval_seconds
        as expected_count,
    {{ finished_measures('daily') }}
from daily
{{ join_labels('daily') }}
order by daily.day, daily.tenant_id
