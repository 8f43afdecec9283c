-- Which trucks of a fleet hardly moved within ten minutes, their average velocity below 1?
-- The ten minutes are those of the clock that hold the window's start.
with attributes as (
    select
        device_id,
        max(value) filter (where attribute = 'driver') as driver
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('driver')
    group by device_id
)

select buckets.device_id as truck, attributes.driver
from {{ ref('cube_readings_ten_minutes') }} as buckets
left join attributes on buckets.device_id = attributes.device_id
where buckets.tenant_id = '{{ var('tenant', 'trucks') }}'
    and buckets.site_id = '{{ var('fleet', 'South') }}'
    and buckets.metric = 'velocity'
    and buckets.bucket_start = {{ ten_minutes("timestamp '" ~ var('window_start', '2016-01-01 08:00:00') ~ "'") }}
    and buckets.value_avg < 1
order by truck
