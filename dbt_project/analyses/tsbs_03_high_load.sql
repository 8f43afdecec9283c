-- Which trucks of a fleet carry more than nine tenths of what they may?
with attributes as (
    select
        device_id,
        max(value) filter (where attribute = 'driver') as driver,
        cast(max(value) filter (where attribute = 'load_capacity') as double) as load_capacity
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('driver', 'load_capacity')
    group by device_id
)

select latest.device_id as truck, attributes.driver, latest.value as current_load
from {{ ref('cube_readings_latest') }} as latest
inner join attributes on latest.device_id = attributes.device_id
where latest.tenant_id = '{{ var('tenant', 'trucks') }}'
    and latest.site_id = '{{ var('fleet', 'South') }}'
    and latest.metric = 'current_load'
    and latest.value / attributes.load_capacity > 0.9
order by truck
