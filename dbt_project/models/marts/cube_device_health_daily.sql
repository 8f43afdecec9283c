{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'day'],
) }}

-- grain: tenant, site, device, local day in service or with a reading
with stuck as (
    select tenant_id, device_id, day, sum(stuck_count) as stuck_count
    from {{ ref('int_stuck_readings') }}
    group by tenant_id, device_id, day
),

measured as (
    select
        days.*,
        -- least() takes a missing figure for none, and would say that what is not promised is complete
        case when days.expected_count > 0 then least(1, days.promised_count / days.expected_count) end as completeness,
        case when days.is_in_service and silences.availability is not null then least(1, silences.availability) end
            as availability,
        days.valid_count / nullif(days.reading_count, 0) as valid_share,
        case when days.is_in_service then silences.gap_count end as gap_count,
        silences.longest_silence_minutes,
        coalesce(stuck.stuck_count, 0) as stuck_count
    from {{ ref('int_device_days') }} as days
    left join {{ ref('int_device_silences') }} as silences
        on days.tenant_id = silences.tenant_id and days.device_id = silences.device_id and days.day = silences.day
    left join stuck
        on days.tenant_id = stuck.tenant_id and days.device_id = stuck.device_id and days.day = stuck.day
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    device_id,
    device_name,
    model_name,
    is_registered,
    day,
    reading_count,
    valid_count,
    cast(expected_count as double) as expected_count,
    cast(completeness as double) as completeness,
    cast(availability as double) as availability,
    cast(valid_share as double) as valid_share,
    gap_count,
    cast(longest_silence_minutes as double) as longest_silence_minutes,
    cast(stuck_count as bigint) as stuck_count,
    out_of_range_count,
    invalid_count,
    cast(duplicate_count as bigint) as duplicate_count,
    last_seen_at,
    {{ main_issue() }} as main_issue
from measured
order by day, tenant_id
