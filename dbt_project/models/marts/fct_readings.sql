{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_partitions', 'day': 'reading_date'},
    unique_key=['tenant_id', 'device_id', 'metric', 'measured_at'],
) }}

-- grain: tenant, device, metric, instant; what was received last stands
with received as (
    select * from {{ ref('stg_readings') }}
),

-- few instants come twice, so only these are put in order
repeated as (
    select tenant_id, reading_date, device_id, metric, measured_at, count(*) as received_count
    from received
    group by tenant_id, reading_date, device_id, metric, measured_at
    having count(*) > 1
),

latest as (
    select received.*, 1 as received_count
    from received
    anti join repeated using (tenant_id, reading_date, device_id, metric, measured_at)
    union all
    select received.*, repeated.received_count
    from received
    inner join repeated using (tenant_id, reading_date, device_id, metric, measured_at)
    qualify row_number() over (
            partition by received.tenant_id, received.device_id, received.metric, received.measured_at
            order by received.received_at desc, received.load_id desc, received.source_row desc
        ) = 1
),

canonical as (
    select
        latest.tenant_id,
        coalesce(devices.tenant_name, tenants.tenant_name, latest.tenant_id) as tenant_name,
        coalesce(devices.site_id, latest.site_id) as site_id,
        coalesce(devices.site_name, sites.site_name, latest.site_id) as site_name,
        latest.device_id,
        coalesce(devices.device_name, latest.device_id) as device_name,
        latest.metric,
        coalesce(metrics.metric_label, latest.metric) as metric_label,
        latest.measured_at,
        latest.reading_date,
        case
            when latest.measured_at < local_days.second_start then local_days.first_day
            when latest.measured_at < local_days.third_start then local_days.second_day
            else local_days.third_day
        end as local_day,
        case
            when latest.unit is not null then latest.value * sent.unit_factor + sent.unit_offset
            when rules.unit_factor = 1 and rules.unit_offset = 0 then latest.value
            else coalesce(latest.value * rules.unit_factor + rules.unit_offset, latest.value)
        end as value,
        latest.unit is not null and latest.value is not null and sent.unit_factor is null as is_unit_unknown,
        latest.value_text,
        coalesce(rules.unit, metrics.unit) as unit,
        devices.device_id is not null as is_device_known,
        rules.metric is not null as is_metric_known,
        rules.valid_min,
        rules.valid_max,
        rules.max_change_per_minute,
        latest.received_count,
        latest.received_at,
        latest.load_id,
        latest.source,
        latest.source_row
    from latest
    left join {{ ref('stg_devices') }} as devices
        on latest.tenant_id = devices.tenant_id and latest.device_id = devices.device_id
    left join {{ source('registry', 'tenants') }} as tenants on latest.tenant_id = tenants.tenant_id
    left join {{ source('registry', 'sites') }} as sites
        on latest.tenant_id = sites.tenant_id and latest.site_id = sites.site_id
    left join {{ ref('int_local_days') }} as local_days
        on latest.reading_date = local_days.utc_day
        and coalesce(devices.timezone, sites.timezone, 'UTC') = local_days.timezone
    left join {{ ref('stg_device_metrics') }} as rules
        on latest.tenant_id = rules.tenant_id and latest.device_id = rules.device_id and latest.metric = rules.metric
    left join {{ source('registry', 'metrics') }} as metrics on latest.metric = metrics.metric
    left join {{ source('registry', 'sent_units') }} as sent
        on latest.metric = sent.metric and latest.unit = sent.unit
),

-- few metrics have a limit of change, so only these are put in order
in_order as (
    select
        tenant_id,
        device_id,
        metric,
        measured_at,
        max_change_per_minute,
        abs(value - lag(value) over sensor_day)
        / nullif({{ seconds_between('lag(measured_at) over sensor_day', 'measured_at') }} / 60, 0) as change_to,
        abs(lead(value) over sensor_day - value)
        / nullif({{ seconds_between('measured_at', 'lead(measured_at) over sensor_day') }} / 60, 0) as change_from
    from canonical
    where max_change_per_minute is not null
        and value between coalesce(valid_min, value) and coalesce(valid_max, value)
    window sensor_day as (partition by tenant_id, device_id, metric, reading_date order by measured_at)
),

jumps as (
    select tenant_id, device_id, metric, measured_at
    from in_order
    where change_to > max_change_per_minute and change_from > max_change_per_minute
),

judged as (
    select
        canonical.*,
        case
            when not is_device_known then 'device not registered'
            when not is_metric_known then 'metric not registered for the device''s model'
            when is_unit_unknown then 'unit not convertible'
            when canonical.measured_at > received_at + interval 10 minutes then 'measured after it was received'
            when value < valid_min then 'below the valid range'
            when value > valid_max then 'above the valid range'
            when jumps.metric is not null then 'changes too fast'
        end as invalid_reason
    from canonical
    left join jumps
        on canonical.tenant_id = jumps.tenant_id
        and canonical.device_id = jumps.device_id
        and canonical.metric = jumps.metric
        and canonical.measured_at = jumps.measured_at
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    device_id,
    device_name,
    metric,
    metric_label,
    measured_at,
    reading_date,
    local_day,
    value,
    value_text,
    unit,
    invalid_reason is null as is_valid,
    invalid_reason,
    received_count,
    received_at,
    load_id,
    source,
    source_row
from judged
{% if not is_incremental() -%}
-- days lie together, so that a later build reads little beside those it touches
order by reading_date, tenant_id
{%- endif %}
