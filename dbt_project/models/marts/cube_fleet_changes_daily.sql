{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'changed_days', 'day': 'day'},
) }}

-- grain: tenant, level (site or tenant), site, metric, day of the site's zone
with days as (
    select * from {{ ref('cube_fleet_readings_daily') }}
    where {{ near_touched('changed_days', 'day', 364) }}
)

select
    days.tenant_id,
    days.tenant_name,
    days.level,
    days.site_id,
    days.site_name,
    days.metric,
    days.metric_label,
    days.unit,
    days.kind,
    days.day,
    days.value_time_avg - week_before.value_time_avg as value_time_avg_week_change,
    days.value_time_avg - year_before.value_time_avg as value_time_avg_year_change,
    days.value_sum - week_before.value_sum as value_sum_week_change,
    days.value_sum - year_before.value_sum as value_sum_year_change,
    days.value_increase - week_before.value_increase as value_increase_week_change,
    days.value_increase - year_before.value_increase as value_increase_year_change
from days
left join days as week_before
    on days.tenant_id = week_before.tenant_id
    and days.level = week_before.level
    and days.site_id is not distinct from week_before.site_id
    and days.metric = week_before.metric
    and days.day = week_before.day + 7
-- the same weekday, 52 weeks before
left join days as year_before
    on days.tenant_id = year_before.tenant_id
    and days.level = year_before.level
    and days.site_id is not distinct from year_before.site_id
    and days.metric = year_before.metric
    and days.day = year_before.day + 364
where {{ in_touched('changed_days', 'days.day', 'days.tenant_id') }}
