-- grain: tenant, device model, month
select
    tenant_id,
    any_value(tenant_name) as tenant_name,
    coalesce(model_name, 'Not registered') as model_name,
    cast(date_trunc('month', day) as date) as month_start,
    count(distinct device_id) as device_count,
    count(*) as device_days,
    count(*) filter (where main_issue is not null) as failing_device_days,
    100.0 * count(*) filter (where main_issue is not null) / count(*) as failures_per_100_device_days,
    count(*) filter (where reading_count = 0) as silent_device_days,
    count(*) filter (where stuck_count > 0) as stuck_device_days,
    count(*) filter (where out_of_range_count > 0) as out_of_range_device_days,
    cast(sum(gap_count) as bigint) as gap_count,
    sum(completeness * expected_count) / nullif(sum(expected_count), 0) as completeness
from {{ ref('cube_device_health_daily') }}
group by tenant_id, coalesce(model_name, 'Not registered'), date_trunc('month', day)
