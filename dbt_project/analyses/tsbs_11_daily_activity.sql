-- For how many hours were the trucks of each model and fleet well, all together, day by day?
-- Well are ten minutes with an average status below 1, the registry's state `well`. The benchmark's published SQL adds
-- up their rows instead, which are not as many each time: this is the question as it is meant.
with well as (
    select site_id, device_id, cast(spell_start as date) as day, sum(bucket_count) / 6 as hours
    from {{ ref('cube_state_spells') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and state = 'well'
        and is_in_state
    group by site_id, device_id, cast(spell_start as date)
)

select well.site_id as fleet, devices.model_name as model, well.day, sum(well.hours) as active_hours
from well
inner join {{ ref('dim_devices') }} as devices
    on well.device_id = devices.device_id and devices.tenant_id = '{{ var('tenant', 'trucks') }}'
group by well.site_id, devices.model_name, well.day
order by day, fleet, model
