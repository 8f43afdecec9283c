{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_partitions', 'day': 'reading_date'},
) }}

-- grain: tenant, device, metric, instant; what was received last stands
with received as (
    select * from {{ ref('stg_readings') }}
),

latest as (
    select
        *,
        count(*) over same_instant as received_count
    from received
    window same_instant as (partition by tenant_id, device_id, metric, measured_at)
    qualify row_number() over (
        partition by tenant_id, device_id, metric, measured_at
        order by received_at desc, load_id desc, source_row desc
    ) = 1
),

canonical as (
    select
        latest.tenant_id,
        coalesce(devices.site_id, latest.site_id) as site_id,
        latest.device_id,
        latest.metric,
        latest.measured_at,
        latest.reading_date,
        cast({{ to_local('latest.measured_at', "coalesce(devices.timezone, sites.timezone, 'UTC')") }} as date)
            as local_day,
        case
            when rules.unit_factor = 1 and rules.unit_offset = 0 then latest.value
            else coalesce(latest.value * rules.unit_factor + rules.unit_offset, latest.value)
        end as value,
        latest.value_text,
        coalesce(rules.unit, metrics.unit) as unit,
        devices.device_id is not null as is_device_known,
        rules.metric is not null as is_metric_known,
        rules.valid_min,
        rules.valid_max,
        latest.received_count,
        latest.received_at,
        latest.load_id,
        latest.source,
        latest.source_row
    from latest
    left join {{ ref('stg_devices') }} as devices
        on latest.tenant_id = devices.tenant_id and latest.device_id = devices.device_id
    left join {{ source('registry', 'sites') }} as sites
        on latest.tenant_id = sites.tenant_id and latest.site_id = sites.site_id
    left join {{ ref('stg_device_metrics') }} as rules
        on latest.tenant_id = rules.tenant_id and latest.device_id = rules.device_id and latest.metric = rules.metric
    left join {{ source('registry', 'metrics') }} as metrics on latest.metric = metrics.metric
),

judged as (
    select
        *,
        case
            when not is_device_known then 'device not registered'
            when not is_metric_known then 'metric not registered for the device''s model'
            when measured_at > received_at + interval 10 minutes then 'measured after it was received'
            when value < valid_min then 'below the valid range'
            when value > valid_max then 'above the valid range'
        end as invalid_reason
    from canonical
)

select
    tenant_id,
    site_id,
    device_id,
    metric,
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
