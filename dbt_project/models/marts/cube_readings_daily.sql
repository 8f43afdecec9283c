{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
) }}

-- grain: tenant, site, device, metric, day of the site's zone
with daily as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        local_day as day,
        {{ reading_measures() }}
    from {{ ref('int_readings_to_date') }}
    where {{ in_touched('touched_days', 'local_day') }}
        and {{ near_touched('touched_days', 'reading_date') }}
    group by tenant_id, site_id, device_id, metric, unit, local_day
)

select
    {{ reading_labels('daily') }},
    daily.day,
    daily.reading_count,
    daily.valid_count,
    {{ local_day_seconds('daily.day', "coalesce(sites.timezone, 'UTC')") }} / rules.interval_seconds
        as expected_count,
    daily.value_avg,
    daily.value_min,
    daily.value_max,
    daily.value_sum,
    daily.value_first,
    daily.value_last,
    daily.value_stddev
from daily
{{ join_labels('daily') }}
