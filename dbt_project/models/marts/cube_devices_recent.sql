-- grain: tenant, site, device in service in the 7 days up to the tenant's latest day
with recent as (
    select health.*, latest.as_of_day, latest.as_of_day - health.day < 7 as is_this_week
    from {{ ref('cube_device_health_daily') }} as health
    inner join {{ ref('int_tenants_as_of') }} as latest on health.tenant_id = latest.tenant_id
    where health.day between latest.as_of_day - 13 and latest.as_of_day
),

devices as (
    select
        tenant_id,
        any_value(tenant_name) as tenant_name,
        any_value(site_id) as site_id,
        any_value(site_name) as site_name,
        device_id,
        any_value(device_name) as device_name,
        any_value(model_name) as model_name,
        bool_and(is_registered) as is_registered,
        any_value(as_of_day) as as_of_day,
        sum(reading_count) filter (where is_this_week) as reading_count,
        sum(completeness * expected_count) filter (where is_this_week)
        / nullif(sum(expected_count) filter (where is_this_week), 0) as completeness,
        avg(availability) filter (where is_this_week) as availability,
        sum(valid_count) filter (where is_this_week)
        / nullif(sum(reading_count) filter (where is_this_week), 0) as valid_share,
        sum(completeness * expected_count) filter (where not is_this_week)
        / nullif(sum(expected_count) filter (where not is_this_week), 0) as completeness_week_before,
        sum(out_of_range_count) filter (where is_this_week) as out_of_range_count,
        sum(invalid_count) filter (where is_this_week) as invalid_count,
        sum(stuck_count) filter (where is_this_week) as stuck_count,
        max(last_seen_at) as last_seen_at
    from recent
    group by tenant_id, device_id
    having count(*) filter (where is_this_week) > 0
),

judged as (
    select
        *,
        coalesce(completeness, 1) * coalesce(valid_share, 1)
        * (1 - coalesce(stuck_count / nullif(reading_count, 0), 0)) as health_score,
        {{ main_issue() }} as main_issue
    from devices
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    device_id,
    device_name,
    model_name,
    as_of_day,
    cast(completeness as double) as completeness,
    availability,
    cast(valid_share as double) as valid_share,
    cast(completeness_week_before as double) as completeness_week_before,
    cast(completeness - completeness_week_before as double) as completeness_change,
    cast(health_score as double) as health_score,
    last_seen_at,
    main_issue,
    cast(row_number() over (partition by tenant_id order by health_score, device_id) as integer) as worst_rank
from judged
