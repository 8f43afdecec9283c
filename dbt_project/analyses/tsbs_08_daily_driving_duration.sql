-- For how many whole hours a day does each driver drive, on average of the days with any driving?
-- Driving are ten minutes with an average velocity above 1: the registry's state `moving`.
with attributes as (
    select
        device_id,
        max(value) filter (where attribute = 'driver') as driver
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('driver')
    group by device_id
),

driven as (
    select site_id, device_id, cast(spell_start as date) as day, floor(sum(bucket_count) / 6) as hours
    from {{ ref('cube_state_spells') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and state = 'moving'
        and is_in_state
    group by site_id, device_id, cast(spell_start as date)
)

select driven.site_id as fleet, driven.device_id as truck, attributes.driver, avg(driven.hours) as hours_a_day
from driven
left join attributes on driven.device_id = attributes.device_id
group by driven.site_id, driven.device_id, attributes.driver
order by fleet, truck
