-- Where was each truck of a fleet last?
-- A row may come without one of the two: each is the last that is known.
with attributes as (
    select
        device_id,
        max(value) filter (where attribute = 'driver') as driver
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('driver')
    group by device_id
)

select
    latest.device_id as truck,
    attributes.driver,
    max(latest.value) filter (where latest.metric = 'longitude') as longitude,
    max(latest.value) filter (where latest.metric = 'latitude') as latitude
from {{ ref('cube_readings_latest') }} as latest
left join attributes on latest.device_id = attributes.device_id
where latest.tenant_id = '{{ var('tenant', 'trucks') }}'
    and latest.site_id = '{{ var('fleet', 'South') }}'
    and latest.metric in ('longitude', 'latitude')
group by latest.device_id, attributes.driver
order by truck
