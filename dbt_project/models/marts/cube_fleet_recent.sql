-- grain: tenant, site, day of the 13 weeks up to the tenant's latest day
select
    fleet.*,
    latest.as_of_day,
    cast(latest.as_of_day - fleet.day as integer) as days_before_latest
from {{ ref('cube_fleet_daily') }} as fleet
inner join {{ ref('int_tenants_as_of') }} as latest on fleet.tenant_id = latest.tenant_id
where fleet.day between latest.as_of_day - 90 and latest.as_of_day
