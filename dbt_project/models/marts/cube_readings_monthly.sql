{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_months', 'day': 'month_start'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'month_start'],
) }}

-- grain: tenant, site, device, metric, month of the site's zone
with finer as (
    select
        *,
        cast(date_trunc('month', day) as date) as month_start,
        min(value_avg) over (
            partition by tenant_id, device_id, metric, cast(date_trunc('month', day) as date)
        ) as least_avg
    from {{ ref('cube_readings_daily') }}
    where {{ in_touched('touched_months', "cast(date_trunc('month', day) as date)") }}
        and {{ near_touched('touched_months', 'day', 31) }}
)

select
    {{ series_columns() }},
    month_start,
    sum(expected_count) as expected_count,
    {{ rolled_up_measures('day') }}
from finer
group by {{ series_columns() }}, month_start
order by month_start, tenant_id
