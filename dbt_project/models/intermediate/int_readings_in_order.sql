-- grain: reading of a touched local day, with the valid readings of its sensor before and after it
with readings as (
    select
        readings.*,
        coalesce(metrics.kind, 'gauge') as kind,
        rules.interval_seconds,
        coalesce(rules.hold_seconds, 86400) as hold_seconds,
        rules.rolls_over_at,
        rules.stuck_after_minutes
    from {{ ref('int_readings_to_date') }} as readings
    left join {{ ref('stg_device_metrics') }} as rules
        on readings.tenant_id = rules.tenant_id
        and readings.device_id = rules.device_id
        and readings.metric = rules.metric
    left join {{ source('registry', 'metrics') }} as metrics on readings.metric = metrics.metric
    where {{ in_touched('touched_days', 'readings.local_day', 'readings.tenant_id') }}
        and {{ near_touched('touched_days', 'readings.reading_date') }}
),

-- over midnight, UTC or local: the sensor's last reading before it, whenever that was, and its first one after it;
-- nearly always it is in the days around, so that only sensors without one there are looked for in all others
near_days as (
    select
        *,
        lag(last_at) over sensor as last_at_before,
        lag(last_value) over sensor as last_value_before,
        lag(last_text) over sensor as last_text_before,
        lead(first_at) over sensor as first_at_after
    from {{ ref('int_sensor_days') }}
    where {{ near_touched('touched_days', 'reading_date', 8) }}
    window sensor as (partition by tenant_id, device_id, metric order by first_at)
),

touched_days as (
    select *
    from near_days
    where {{ in_touched('touched_days', 'local_day') }}
),

long_before as (
    select
        tenant_id,
        device_id,
        metric,
        max(last_at) as last_at,
        {{ last_of('last_value', 'last_at') }} as last_value,
        {{ last_of('last_text', 'last_at') }} as last_text
    from {{ ref('int_sensor_days') }}
    where reading_date < (select min(day) - 8 from {{ source('build', 'touched_days') }})
        and (tenant_id, device_id, metric) in (
            select (tenant_id, device_id, metric)
            from touched_days
            where last_at_before is null
        )
    group by tenant_id, device_id, metric
),

long_after as (
    select tenant_id, device_id, metric, min(first_at) as first_at
    from {{ ref('int_sensor_days') }}
    where reading_date > (select max(day) + 8 from {{ source('build', 'touched_days') }})
        and (tenant_id, device_id, metric) in (
            select (tenant_id, device_id, metric)
            from touched_days
            where first_at_after is null
        )
    group by tenant_id, device_id, metric
),

days as (
    select
        touched_days.tenant_id,
        touched_days.device_id,
        touched_days.metric,
        touched_days.reading_date,
        touched_days.local_day,
        -- joined as a key: a condition on one side alone would make DuckDB compare every row with every other
        true as is_valid,
        coalesce(touched_days.last_at_before, long_before.last_at) as last_at_before,
        case
            when touched_days.last_at_before is null then long_before.last_value
            else touched_days.last_value_before
        end as last_value_before,
        case
            when touched_days.last_at_before is null then long_before.last_text
            else touched_days.last_text_before
        end as last_text_before,
        coalesce(touched_days.first_at_after, long_after.first_at) as first_at_after
    from touched_days
    left join long_before
        on touched_days.tenant_id = long_before.tenant_id
        and touched_days.device_id = long_before.device_id
        and touched_days.metric = long_before.metric
    left join long_after
        on touched_days.tenant_id = long_after.tenant_id
        and touched_days.device_id = long_after.device_id
        and touched_days.metric = long_after.metric
),

neighbours as (
    select
        readings.tenant_id,
        readings.site_id,
        readings.device_id,
        readings.metric,
        readings.kind,
        readings.unit,
        readings.measured_at,
        readings.reading_date,
        readings.local_day,
        readings.value,
        readings.value_text,
        readings.is_valid,
        readings.interval_seconds,
        readings.hold_seconds,
        readings.rolls_over_at,
        readings.stuck_after_minutes,
        lag(readings.measured_at) over sensor_day as measured_at_before,
        lag(readings.value) over sensor_day as value_before,
        lag(readings.value_text) over sensor_day as text_before,
        lead(readings.measured_at) over sensor_day as measured_at_after
    from readings
    window sensor_day as (
        partition by
            readings.tenant_id,
            readings.device_id,
            readings.metric,
            readings.reading_date,
            readings.local_day,
            readings.is_valid
        order by readings.measured_at
    )
)

select
    neighbours.* exclude (hold_seconds, measured_at_before, value_before, text_before, measured_at_after),
    coalesce(neighbours.measured_at_before, days.last_at_before) as measured_at_before,
    -- a value holds until the next one comes, and no longer than hold_seconds
    least(
        neighbours.measured_at,
        coalesce(neighbours.measured_at_before, days.last_at_before) + {{ seconds('neighbours.hold_seconds') }}
    ) as before_held_until,
    least(
        coalesce(neighbours.measured_at_after, days.first_at_after),
        neighbours.measured_at + {{ seconds('neighbours.hold_seconds') }}
    ) as held_until,
    case when neighbours.measured_at_before is null then days.last_value_before else neighbours.value_before end
        as value_before,
    case when neighbours.measured_at_before is null then days.last_text_before else neighbours.text_before end
        as text_before
from neighbours
left join days
    on neighbours.tenant_id = days.tenant_id
    and neighbours.device_id = days.device_id
    and neighbours.metric = days.metric
    and neighbours.reading_date = days.reading_date
    and neighbours.local_day = days.local_day
    and neighbours.is_valid = days.is_valid
