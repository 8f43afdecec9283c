-- Change of every device on the week before
-- The latest day's week against the seven days before it, by each tenant's own latest day: a fleet whose data ended
-- years ago shows as one that ends today.
with latest as (
    select tenant_id, max(day) as as_of_day from cube_device_health_daily group by tenant_id
),

weeks as (
    select
        health.site_name,
        health.device_name,
        avg(availability) filter (where day > as_of_day - 7) as this_week,
        avg(availability) filter (where day <= as_of_day - 7) as week_before
    from cube_device_health_daily as health
    inner join latest on health.tenant_id = latest.tenant_id and day > as_of_day - 14
    group by health.site_name, health.device_name
)

select
    *,
    this_week - week_before as change
from weeks
order by change
