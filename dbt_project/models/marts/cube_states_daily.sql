{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'day', 'state'],
) }}

-- grain: tenant, site, device, metric of kind state, day of the site's zone, state
with readings as (
    select
        readings.*,
        {{ state_of('readings.value_text', 'readings.value') }} as state,
        {{ state_of('readings.text_before', 'readings.value_before') }} as state_before,
        coalesce(site_days.day_start, readings.local_day) as day_start,
        coalesce(site_days.day_end, readings.local_day + 1) as day_end
    from {{ ref('int_readings_in_order') }} as readings
    left join {{ ref('int_site_days') }} as site_days
        on readings.tenant_id = site_days.tenant_id
        and readings.site_id = site_days.site_id
        and readings.local_day = site_days.day
    where readings.kind = 'state' and readings.is_valid
),

spells as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        local_day as day,
        state,
        {{ seconds_held('day_end') }} as seconds,
        (state is distinct from state_before) as is_entered
    from readings
    union all
    -- what the state before, of an earlier day, holds of this one
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        local_day as day,
        state_before as state,
        {{ seconds_carried('day_start') }} as seconds,
        false as is_entered
    from readings
    where measured_at_before < day_start
),

daily as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        day,
        state,
        sum(seconds) as state_seconds,
        count(*) filter (where is_entered) as entered_count
    from spells
    where seconds > 0 or is_entered
    group by tenant_id, site_id, device_id, metric, unit, day, state
)

select
    {{ reading_labels('daily') }},
    daily.day,
    daily.state,
    daily.state_seconds,
    daily.state_seconds / sum(daily.state_seconds) over (
        partition by daily.tenant_id, daily.device_id, daily.metric, daily.day
    ) as state_share,
    daily.entered_count
from daily
{{ join_labels('daily') }}
order by daily.day, daily.tenant_id
