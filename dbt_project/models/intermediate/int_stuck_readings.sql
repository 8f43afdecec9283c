with watched as (
    select
        readings.tenant_id,
        readings.device_id,
        readings.metric,
        readings.local_day as day,
        readings.measured_at,
        readings.value,
        rules.stuck_after_minutes,
        readings.value is not distinct from lag(readings.value) over sensor_day as is_same
    from {{ ref('int_readings_to_date') }} as readings
    inner join {{ ref('stg_device_metrics') }} as rules
        on readings.tenant_id = rules.tenant_id
        and readings.device_id = rules.device_id
        and readings.metric = rules.metric
    where rules.stuck_after_minutes is not null
        and readings.value is not null
        and {{ in_touched('touched_days', 'readings.local_day', 'readings.tenant_id') }}
        and {{ near_touched('touched_days', 'readings.reading_date') }}
    window sensor_day as (
        partition by readings.tenant_id, readings.device_id, readings.metric, readings.local_day
        order by readings.measured_at
    )
),

numbered as (
    select
        *,
        count(*) filter (where not is_same) over (
            partition by tenant_id, device_id, metric, day order by measured_at
        ) as run
    from watched
),

runs as (
    select
        tenant_id,
        device_id,
        metric,
        day,
        run,
        count(*) as reading_count,
        {{ seconds_between('min(measured_at)', 'max(measured_at)') }} / 60 as minutes,
        max(stuck_after_minutes) as stuck_after_minutes
    from numbered
    group by tenant_id, device_id, metric, day, run
)

select tenant_id, device_id, day, sum(reading_count) as stuck_count
from runs
where minutes >= stuck_after_minutes
group by tenant_id, device_id, day
