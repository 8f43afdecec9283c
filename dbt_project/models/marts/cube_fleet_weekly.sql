-- grain: tenant, site, ISO week
with weeks as (
    select
        tenant_id,
        any_value(tenant_name) as tenant_name,
        site_id,
        any_value(site_name) as site_name,
        week_start,
        count(*) as day_count,
        cast(sum(reading_count) as bigint) as reading_count,
        sum(expected_count) as expected_count,
        sum(completeness * expected_count) / nullif(sum(expected_count), 0) as completeness,
        sum(availability * devices_registered) / nullif(sum(devices_registered), 0) as availability,
        sum(valid_count) / nullif(sum(reading_count), 0) as valid_share
    from {{ ref('cube_fleet_daily') }}
    group by tenant_id, site_id, week_start
)

select
    weeks.*,
    weeks.completeness - week_before.completeness as completeness_change,
    weeks.availability - week_before.availability as availability_change
from weeks
left join weeks as week_before
    on weeks.tenant_id = week_before.tenant_id
    and weeks.site_id = week_before.site_id
    and weeks.week_start = week_before.week_start + 7
