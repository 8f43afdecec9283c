{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'carried_partitions', 'day': 'day'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'day'],
) }}

-- grain: tenant, site, device, metric, UTC day
{{ rolled_up_readings(
    ref('cube_readings_hourly'),
    start='hour_start',
    period='day',
    period_start="cast(hour_start as date)",
    scope='carried_partitions',
    margin_days=0,
    expected_count='24 * max(expected_count)',
) }}
