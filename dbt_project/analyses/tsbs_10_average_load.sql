-- How full are the trucks of each model and fleet, on average, of what they may carry?
with attributes as (
    select
        device_id,
        cast(max(value) filter (where attribute = 'load_capacity') as double) as load_capacity
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('load_capacity')
    group by device_id
),

loads as (
    select site_id, device_id, sum(value_sum) / sum(valid_count) as average_load
    from {{ ref('cube_readings_daily') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and metric = 'current_load'
        and valid_count > 0
    group by site_id, device_id
)

select
    loads.site_id as fleet,
    devices.model_name as model,
    attributes.load_capacity,
    avg(loads.average_load / attributes.load_capacity) as load_share
from loads
inner join {{ ref('dim_devices') }} as devices
    on loads.device_id = devices.device_id and devices.tenant_id = '{{ var('tenant', 'trucks') }}'
inner join attributes on loads.device_id = attributes.device_id
group by loads.site_id, devices.model_name, attributes.load_capacity
order by fleet, model
