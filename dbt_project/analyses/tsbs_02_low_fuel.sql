-- Which trucks of a fleet have less than a tenth of their fuel left?
with attributes as (
    select
        device_id,
        max(value) filter (where attribute = 'driver') as driver
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('driver')
    group by device_id
)

select latest.device_id as truck, attributes.driver, latest.value as fuel_state
from {{ ref('cube_readings_latest') }} as latest
left join attributes on latest.device_id = attributes.device_id
where latest.tenant_id = '{{ var('tenant', 'trucks') }}'
    and latest.site_id = '{{ var('fleet', 'South') }}'
    and latest.metric = 'fuel_state'
    and latest.value < 0.1
order by truck
