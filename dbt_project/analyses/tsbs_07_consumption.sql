-- How much fuel do the trucks of each fleet use while they drive (velocity above 1), and how much should they?
-- What they should counts as often as the truck was seen driving. The registry's state `moving` says when it was.
with attributes as (
    select
        device_id,
        cast(max(value) filter (where attribute = 'nominal_fuel_consumption') as double) as nominal_fuel_consumption
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('nominal_fuel_consumption')
    group by device_id
)

select
    activity.site_id as fleet,
    sum(activity.value_sum) filter (where activity.metric = 'fuel_consumption')
    / sum(activity.active_count) filter (where activity.metric = 'fuel_consumption') as fuel_consumption,
    sum(activity.active_count * attributes.nominal_fuel_consumption) filter (where activity.metric = 'velocity')
    / sum(activity.active_count) filter (where activity.metric = 'velocity') as nominal_fuel_consumption
from {{ ref('cube_activity_daily') }} as activity
inner join attributes on activity.device_id = attributes.device_id
where activity.tenant_id = '{{ var('tenant', 'trucks') }}'
    and activity.state = 'moving'
    and activity.metric in ('fuel_consumption', 'velocity')
group by activity.site_id
order by fleet
