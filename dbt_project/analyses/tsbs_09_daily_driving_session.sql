-- How long do trucks drive at a stretch, on average of the sessions that began on a day?
-- A session begins with the first ten minutes whose average velocity is above 5 and ends with the next that is not;
-- of one that has not ended the length is not known yet.
with buckets as (
    select
        device_id,
        bucket_start,
        value_avg > 5 as is_driving,
        lag(value_avg > 5) over (partition by device_id order by bucket_start) as was_driving
    from {{ ref('cube_readings_ten_minutes') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and metric = 'velocity'
        and valid_count > 0
),

changes as (
    select
        device_id,
        bucket_start,
        is_driving,
        lead(bucket_start) over (partition by device_id order by bucket_start) as next_change
    from buckets
    where is_driving <> was_driving
)

select
    device_id as truck,
    cast(bucket_start as date) as day,
    avg({{ seconds_between('bucket_start', 'next_change') }}) / 60 as session_minutes
from changes
where is_driving
group by device_id, cast(bucket_start as date)
order by truck, day
