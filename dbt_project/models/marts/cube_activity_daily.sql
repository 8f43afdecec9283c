{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'state', 'metric', 'day'],
) }}

-- grain: tenant, site, device, state known by single values, metric, day of the site's zone
with readings as (
    select tenant_id, site_id, device_id, metric, unit, local_day, measured_at, value
    from {{ ref('int_readings_to_date') }}
    where is_valid
        and value is not null
        and {{ in_touched('touched_days', 'local_day') }}
        and {{ near_touched('touched_days', 'reading_date') }}
),

active as (
    select readings.tenant_id, readings.device_id, readings.measured_at, rules.state
    from readings
    inner join {{ ref('stg_state_rules') }} as rules
        on readings.tenant_id = rules.tenant_id
        and readings.device_id = rules.device_id
        and readings.metric = rules.metric
    where rules.figure = 'value' and {{ meets_rule('readings.value') }}
),

daily as (
    select
        readings.tenant_id,
        readings.site_id,
        readings.device_id,
        active.state,
        readings.metric,
        readings.unit,
        readings.local_day as day,
        count(*) as active_count,
        avg(readings.value) as value_avg,
        min(readings.value) as value_min,
        max(readings.value) as value_max,
        sum(readings.value) as value_sum
    from readings
    inner join active
        on readings.tenant_id = active.tenant_id
        and readings.device_id = active.device_id
        and readings.measured_at = active.measured_at
    group by
        readings.tenant_id,
        readings.site_id,
        readings.device_id,
        active.state,
        readings.metric,
        readings.unit,
        readings.local_day
)

select
    {{ reading_labels('daily') }},
    daily.state,
    daily.day,
    daily.active_count,
    daily.value_avg,
    daily.value_min,
    daily.value_max,
    daily.value_sum
from daily
{{ join_labels('daily') }}
