{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'changed_days', 'day': 'day'},
) }}

-- grain: tenant, site, local day
with site_days as (
    select
        tenant_id,
        any_value(tenant_name) as tenant_name,
        site_id,
        any_value(site_name) as site_name,
        day,
        count(*) filter (where is_registered) as devices_registered,
        count(*) filter (where is_registered and reading_count > 0) as devices_reporting,
        count(*) filter (where not is_registered) as devices_unregistered,
        sum(reading_count) as reading_count,
        sum(valid_count) as valid_count,
        sum(expected_count) as expected_count,
        sum(completeness * expected_count) / nullif(sum(expected_count), 0) as completeness,
        avg(availability) as availability,
        sum(valid_count) / nullif(sum(reading_count), 0) as valid_share,
        sum(invalid_count) as invalid_count
    from {{ ref('cube_device_health_daily') }}
    where {{ near_touched('changed_days', 'day', 364) }}
    group by tenant_id, site_id, day
)

select
    site_days.tenant_id,
    site_days.tenant_name,
    site_days.site_id,
    site_days.site_name,
    site_days.day,
    cast(date_trunc('week', site_days.day) as date) as week_start,
    site_days.devices_registered,
    site_days.devices_reporting,
    site_days.devices_unregistered,
    cast(site_days.reading_count as bigint) as reading_count,
    cast(site_days.valid_count as bigint) as valid_count,
    site_days.expected_count,
    site_days.completeness,
    site_days.availability,
    site_days.valid_share,
    cast(site_days.invalid_count as bigint) as invalid_count,
    site_days.completeness - week_before.completeness as completeness_change,
    site_days.availability - week_before.availability as availability_change,
    site_days.valid_share - week_before.valid_share as valid_share_change,
    cast(site_days.reading_count - week_before.reading_count as bigint) as reading_count_change,
    site_days.completeness - year_before.completeness as completeness_year_change,
    site_days.availability - year_before.availability as availability_year_change
from site_days
left join site_days as week_before
    on site_days.tenant_id = week_before.tenant_id
    and site_days.site_id = week_before.site_id
    and site_days.day = week_before.day + 7
-- the same weekday, 52 weeks before
left join site_days as year_before
    on site_days.tenant_id = year_before.tenant_id
    and site_days.site_id = year_before.site_id
    and site_days.day = year_before.day + 364
where {{ in_touched('changed_days', 'site_days.day', 'site_days.tenant_id') }}
