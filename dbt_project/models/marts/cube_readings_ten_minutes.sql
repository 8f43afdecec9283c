{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_partitions', 'day': 'cast(bucket_start as date)', 'instant': 'bucket_start'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'bucket_start'],
) }}

-- grain: tenant, site, device, metric with a cadence of at most two minutes, ten minutes of the UTC clock
with ten_minutes as (
    select
        tenant_id,
        site_id,
        device_id,
        metric,
        unit,
        {{ ten_minutes('measured_at') }} as bucket_start,
        count(*) as reading_count,
        count(*) filter (where is_valid) as valid_count,
        avg(value) filter (where is_valid) as value_avg,
        min(value) filter (where is_valid) as value_min,
        max(value) filter (where is_valid) as value_max,
        sum(value) filter (where is_valid) as value_sum,
        arg_max(value, measured_at) filter (where is_valid) as value_last,
        count(*) filter (where is_valid and value > 0) as positive_count
    from {{ ref('int_readings_to_date') }}
    where {{ in_touched('touched_partitions', 'reading_date') }}
        and {{ near_touched('touched_partitions', 'reading_date', 0) }}
        and (tenant_id, device_id, metric) in (
            select (tenant_id, device_id, metric) from {{ ref('stg_device_metrics') }}
            where interval_seconds <= 120
        )
    group by tenant_id, site_id, device_id, metric, unit, {{ ten_minutes('measured_at') }}
)

select
    {{ reading_labels('ten_minutes') }},
    ten_minutes.bucket_start,
    ten_minutes.reading_count,
    ten_minutes.valid_count,
    ten_minutes.value_avg,
    ten_minutes.value_min,
    ten_minutes.value_max,
    ten_minutes.value_sum,
    ten_minutes.value_last,
    ten_minutes.positive_count
from ten_minutes
{{ join_labels('ten_minutes') }}
-- days lie together, and in them the rows of a metric in time: questions are of one metric and a span
order by
    cast(ten_minutes.bucket_start as date),
    ten_minutes.tenant_id,
    ten_minutes.metric,
    ten_minutes.bucket_start
