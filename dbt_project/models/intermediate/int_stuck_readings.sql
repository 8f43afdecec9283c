-- few readings equal the one before them, so only these are looked at; runs are cut where the site's day begins
with same as (
    select
        readings.tenant_id,
        readings.device_id,
        readings.metric,
        readings.local_day as day,
        readings.measured_at,
        readings.measured_at_before,
        readings.stuck_after_minutes
    from {{ ref('int_readings_in_order') }} as readings
    inner join {{ ref('int_device_days') }} as days
        on readings.tenant_id = days.tenant_id
        and readings.device_id = days.device_id
        and readings.local_day = days.day
    where readings.stuck_after_minutes is not null
        and readings.is_valid
        and readings.value = readings.value_before
        and readings.measured_at_before >= days.day_start
),

linked as (
    select
        *,
        (measured_at_before is not distinct from lag(measured_at) over sensor_day) as goes_on
    from same
    window sensor_day as (partition by tenant_id, device_id, metric, day order by measured_at)
),

numbered as (
    select
        *,
        count(*) filter (where not goes_on) over (
            partition by tenant_id, device_id, metric, day order by measured_at
        ) as run
    from linked
),

runs as (
    select
        tenant_id,
        device_id,
        metric,
        day,
        run,
        count(*) + 1 as reading_count,
        {{ seconds_between('min(measured_at_before)', 'max(measured_at)') }} / 60 as minutes,
        max(stuck_after_minutes) as stuck_after_minutes
    from numbered
    group by tenant_id, device_id, metric, day, run
)

select tenant_id, device_id, day, sum(reading_count) as stuck_count
from runs
where minutes >= stuck_after_minutes
group by tenant_id, device_id, day
