with heard as (
    select
        readings.tenant_id,
        readings.device_id,
        readings.local_day as day,
        max(readings.site_id) as site_id,
        count(*) as reading_count,
        -- metrics without a cadence may send as much as they like: they make no device complete
        count(*) filter (where rules.interval_seconds is not null) as promised_count,
        count(*) filter (where readings.is_valid) as valid_count,
        count(*) filter (where not readings.is_valid) as invalid_count,
        count(*) filter (where readings.invalid_reason in ('below the valid range', 'above the valid range'))
            as out_of_range_count,
        sum(readings.received_count - 1) as duplicate_count,
        max(readings.measured_at) as last_seen_at
    from {{ ref('int_readings_to_date') }} as readings
    left join {{ ref('stg_device_metrics') }} as rules
        on readings.tenant_id = rules.tenant_id
        and readings.device_id = rules.device_id
        and readings.metric = rules.metric
    where {{ in_touched('touched_days', 'readings.local_day', 'readings.tenant_id') }}
        and {{ near_touched('touched_days', 'readings.reading_date') }}
    group by readings.tenant_id, readings.device_id, readings.local_day
),

tenant_days as (
    select distinct tenant_id, day from heard
    union
    select tenant_id, day from {{ source('build', 'touched_days') }}
    where is_within_data
),

in_service as (
    select devices.tenant_id, devices.device_id, tenant_days.day
    from {{ ref('stg_devices') }} as devices
    inner join tenant_days
        on devices.tenant_id = tenant_days.tenant_id
        and tenant_days.day between devices.commissioned_on and coalesce(devices.decommissioned_on, tenant_days.day)
),

device_days as (
    select tenant_id, device_id, day from in_service
    union
    select tenant_id, device_id, day from heard
)

select
    device_days.tenant_id,
    coalesce(devices.tenant_name, device_days.tenant_id) as tenant_name,
    coalesce(devices.site_id, heard.site_id) as site_id,
    coalesce(devices.site_name, heard.site_id) as site_name,
    device_days.device_id,
    coalesce(devices.device_name, device_days.device_id) as device_name,
    devices.model_name,
    devices.device_id is not null as is_registered,
    in_service.device_id is not null as is_in_service,
    device_days.day,
    {{ to_utc('device_days.day', "coalesce(devices.timezone, 'UTC')") }} as day_start,
    {{ to_utc('(device_days.day + 1)', "coalesce(devices.timezone, 'UTC')") }} as day_end,
    devices.interval_seconds,
    case
        when in_service.device_id is not null
            then devices.expected_per_second
                * {{ local_day_seconds('device_days.day', "coalesce(devices.timezone, 'UTC')") }}
    end as expected_count,
    coalesce(heard.reading_count, 0) as reading_count,
    coalesce(heard.promised_count, 0) as promised_count,
    coalesce(heard.valid_count, 0) as valid_count,
    coalesce(heard.invalid_count, 0) as invalid_count,
    coalesce(heard.out_of_range_count, 0) as out_of_range_count,
    coalesce(heard.duplicate_count, 0) as duplicate_count,
    heard.last_seen_at
from device_days
left join heard
    on device_days.tenant_id = heard.tenant_id
    and device_days.device_id = heard.device_id
    and device_days.day = heard.day
left join {{ ref('stg_devices') }} as devices
    on device_days.tenant_id = devices.tenant_id and device_days.device_id = devices.device_id
left join in_service
    on device_days.tenant_id = in_service.tenant_id
    and device_days.device_id = in_service.device_id
    and device_days.day = in_service.day
