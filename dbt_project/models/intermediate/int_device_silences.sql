with instants as (
    select distinct tenant_id, device_id, local_day as day, measured_at as instant
    from {{ ref('int_readings_in_order') }}
),

slots as (
    select
        instants.tenant_id,
        instants.device_id,
        instants.day,
        count(distinct floor({{ seconds_between('days.day_start', 'instants.instant') }} / days.interval_seconds))
            as reported_slots
    from instants
    inner join {{ ref('int_device_days') }} as days
        on instants.tenant_id = days.tenant_id and instants.device_id = days.device_id and instants.day = days.day
    group by instants.tenant_id, instants.device_id, instants.day
),

marks as (
    select tenant_id, device_id, day, instant from instants
    union all
    select tenant_id, device_id, day, day_start from {{ ref('int_device_days') }}
    union all
    select tenant_id, device_id, day, day_end from {{ ref('int_device_days') }}
),

silences as (
    select
        tenant_id,
        device_id,
        day,
        {{ seconds_between('lag(instant) over device_day', 'instant') }} as silent_seconds
    from marks
    window device_day as (partition by tenant_id, device_id, day order by instant)
)

select
    silences.tenant_id,
    silences.device_id,
    silences.day,
    count(*) filter (where silences.silent_seconds > 1.5 * days.interval_seconds) as gap_count,
    max(silences.silent_seconds) / 60 as longest_silence_minutes,
    max(coalesce(slots.reported_slots, 0))
    / max({{ seconds_between('days.day_start', 'days.day_end') }} / days.interval_seconds) as availability
from silences
inner join {{ ref('int_device_days') }} as days
    on silences.tenant_id = days.tenant_id and silences.device_id = days.device_id and silences.day = days.day
left join slots
    on silences.tenant_id = slots.tenant_id and silences.device_id = slots.device_id and silences.day = slots.day
group by silences.tenant_id, silences.device_id, silences.day
