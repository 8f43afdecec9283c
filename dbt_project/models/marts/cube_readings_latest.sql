{{ config(materialized='incremental', incremental_strategy='replace_tenants') }}

-- grain: tenant, site, device, metric with a valid reading
-- depends_on: {{ ref('cube_readings_daily') }}
with heard as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        max(measured_at) as measured_at,
        {{ last_of('value', 'measured_at') }} as value,
        {{ last_of('value_text', 'measured_at') }} as value_text
    from {{ ref('int_readings_to_date') }}
    where is_valid
        and {{ in_touched('touched_partitions', 'reading_date') }}
        and {{ near_touched('touched_partitions', 'reading_date', 0) }}
    group by tenant_id, site_id, device_id, metric, unit
),

{% if is_incremental() -%}
standing as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        measured_at,
        value,
        value_text,
        {{ in_touched('touched_partitions', 'cast(measured_at as date)') }} as is_replaced
    from {{ this }}
    where {{ of_touched_tenants() }}
),

-- a correction took away what stood, and its day brought nothing as new: what was before it comes back
lost as (
    select standing.tenant_id, standing.device_id, standing.metric
    from standing
    left join heard
        on standing.tenant_id = heard.tenant_id
        and standing.device_id = heard.device_id
        and standing.metric = heard.metric
    where standing.is_replaced
        and (heard.measured_at is null or cast(heard.measured_at as date) < cast(standing.measured_at as date))
),

-- the daily cube knows the day, so that no other day is read
last_days as (
    select cubes.tenant_id, cubes.device_id, cubes.metric, max(cubes.day) as day
    from {{ ref('cube_readings_daily') }} as cubes
    inner join lost
        on cubes.tenant_id = lost.tenant_id and cubes.device_id = lost.device_id and cubes.metric = lost.metric
    where cubes.valid_count > 0
    group by cubes.tenant_id, cubes.device_id, cubes.metric
),

before as (
    select
        readings.tenant_id,
        readings.site_id,
        readings.device_id,
        readings.metric,
        readings.unit,
        readings.measured_at,
        readings.value,
        readings.value_text
    from {{ ref('int_readings_to_date') }} as readings
    inner join last_days
        on readings.tenant_id = last_days.tenant_id
        and readings.device_id = last_days.device_id
        and readings.metric = last_days.metric
        and readings.local_day = last_days.day
    where readings.is_valid
        and readings.reading_date >= (select min(day) - 1 from last_days)
        and readings.reading_date <= (select max(day) + 1 from last_days)
),

{% endif -%}
candidates as (
    select tenant_id, site_id, device_id, metric, unit, measured_at, value, value_text from heard
    {% if is_incremental() -%}
    union all
    select tenant_id, site_id, device_id, metric, unit, measured_at, value, value_text
    from standing
    where not is_replaced
    union all
    select tenant_id, site_id, device_id, metric, unit, measured_at, value, value_text from before
    {%- endif %}
),

latest as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        max(measured_at) as measured_at,
        {{ last_of('value', 'measured_at') }} as value,
        {{ last_of('value_text', 'measured_at') }} as value_text
    from candidates
    group by tenant_id, site_id, device_id, metric, unit
)

select
    {{ reading_labels('latest') }},
    latest.measured_at,
    latest.value,
    latest.value_text
from latest
{{ join_labels('latest') }}
