{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'day'],
) }}

{%- set silence = seconds_between('greatest(heard_at_before, day_start)', 'measured_at') %}
{%- set day_seconds = local_day_seconds('daily.day', "coalesce(sites.timezone, 'UTC')") %}

-- grain: tenant, site, device, metric, day of the site's zone on which a value came or was due
with days_with_invalid as (
    select distinct tenant_id, device_id, metric, local_day
    from {{ ref('int_readings_in_order') }}
    where not is_valid
),

-- what is invalid was sent all the same, and ends a silence; few days have any, so only these are put in order
heard as (
    select *, measured_at_before as heard_at_before
    from {{ ref('int_readings_in_order') }}
    anti join days_with_invalid using (tenant_id, device_id, metric, local_day)
    union all
    select *, lag(measured_at) over sensor_day as heard_at_before
    from {{ ref('int_readings_in_order') }}
    semi join days_with_invalid using (tenant_id, device_id, metric, local_day)
    window sensor_day as (partition by tenant_id, device_id, metric, local_day order by measured_at)
),

readings as (
    select
        heard.*,
        coalesce(site_days.day_start, heard.local_day) as day_start,
        coalesce(site_days.day_end, heard.local_day + 1) as day_end
    from heard
    left join {{ ref('int_site_days') }} as site_days
        on heard.tenant_id = site_days.tenant_id
        and heard.site_id = site_days.site_id
        and heard.local_day = site_days.day
),

came as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        local_day as day,
        count(*) filter (where {{ silence }} > 1.5 * interval_seconds) as gaps_before_readings,
        max({{ silence }}) as longest_before_readings,
        {{ seconds_between('max(measured_at)', 'max(day_end)') }} as silence_after_readings,
        {{ reading_measures('day_start', 'day_end') }}
    from readings
    group by tenant_id, site_id, device_id, metric, kind, unit, local_day
),

due as (
    select days.tenant_id, days.site_id, days.device_id, rules.metric, rules.unit, days.day
    from {{ ref('int_device_days') }} as days
    inner join {{ ref('stg_device_metrics') }} as rules
        on days.tenant_id = rules.tenant_id and days.device_id = rules.device_id
    where days.is_in_service and rules.interval_seconds is not null
),

daily as (
    select
        coalesce(came.tenant_id, due.tenant_id) as tenant_id,
        coalesce(came.site_id, due.site_id) as site_id,
        coalesce(came.device_id, due.device_id) as device_id,
        coalesce(came.metric, due.metric) as metric,
        coalesce(came.unit, due.unit) as unit,
        coalesce(came.day, due.day) as day,
        came.* exclude (tenant_id, site_id, device_id, metric, unit, day)
    from came
    full join due
        on came.tenant_id = due.tenant_id
        and came.device_id = due.device_id
        and came.metric = due.metric
        and came.day = due.day
)

select
    {{ reading_labels('daily') }},
    coalesce(metrics.kind, 'gauge') as kind,
    daily.day,
    coalesce(daily.reading_count, 0) as reading_count,
    coalesce(daily.valid_count, 0) as valid_count,
    {{ day_seconds }} / rules.interval_seconds as expected_count,
    case
        when rules.interval_seconds is not null
            then coalesce(
                    daily.gaps_before_readings
                    + cast(daily.silence_after_readings > 1.5 * rules.interval_seconds as integer),
                    1
                )
    end as gap_count,
    coalesce(greatest(daily.longest_before_readings, daily.silence_after_readings), {{ day_seconds }}) / 60
        as longest_silence_minutes,
    coalesce(stuck.stuck_count, 0) as stuck_count,
    {{ finished_measures('daily') }}
from daily
{{ join_labels('daily') }}
left join {{ ref('int_stuck_readings') }} as stuck
    on daily.tenant_id = stuck.tenant_id
    and daily.device_id = stuck.device_id
    and daily.metric = stuck.metric
    and daily.day = stuck.day
order by daily.day, daily.tenant_id
