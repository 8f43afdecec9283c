-- For how many hours were the trucks of each model and fleet well, all together, day by day?
-- Well are ten minutes with an average status below 1. The benchmark's published SQL adds up their rows instead, which
-- it means as the same: this is the question as it is meant.
with well as (
    select site_id, device_id, cast(bucket_start as date) as day, count(*) / 6 as hours
    from {{ ref('cube_readings_ten_minutes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and metric = 'status'
        and value_avg < 1
    group by site_id, device_id, cast(bucket_start as date)
)

select well.site_id as fleet, devices.model_name as model, well.day, sum(well.hours) as active_hours
from well
inner join {{ ref('dim_devices') }} as devices
    on well.device_id = devices.device_id and devices.tenant_id = '{{ var('tenant', 'trucks') }}'
group by well.site_id, devices.model_name, well.day
order by day, fleet, model
