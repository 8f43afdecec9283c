-- Which trucks of a fleet did not rest for 20 minutes within 4 hours: drove in more than 22 of the 24 times ten
-- minutes?
-- They drove where the average velocity of the ten minutes is above 1. The window begins with the ten minutes of the
-- clock that hold its start.
with attributes as (
    select
        device_id,
        max(value) filter (where attribute = 'driver') as driver
    from {{ ref('dim_device_attributes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}' and attribute in ('driver')
    group by device_id
),

driven as (
    select device_id, count(*) as driven_count
    from {{ ref('cube_readings_ten_minutes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and site_id = '{{ var('fleet', 'South') }}'
        and metric = 'velocity'
        and bucket_start >= {{ ten_minutes("timestamp '" ~ var('window_start', '2016-01-01 08:00:00') ~ "'") }}
        and bucket_start
        < {{ ten_minutes("timestamp '" ~ var('window_start', '2016-01-01 08:00:00') ~ "'") }} + interval 4 hour
        and value_avg > 1
    group by device_id
)

select driven.device_id as truck, attributes.driver
from driven
left join attributes on driven.device_id = attributes.device_id
where driven.driven_count > 22
order by truck
