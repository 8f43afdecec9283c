{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_months', 'day': 'month_start'},
    unique_key=['tenant_id', 'site_id', 'device_id', 'metric', 'month_start'],
) }}

-- grain: tenant, site, device, metric, month of the site's zone
{{ rolled_up_readings(
    ref('cube_readings_daily'),
    start='day',
    period='month_start',
    period_start="cast(date_trunc('month', day) as date)",
    scope='touched_months',
    margin_days=31,
    expected_count='sum(expected_count)',
) }}
