{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_months', 'day': 'month_start'},
) }}

-- grain: tenant, level (site or tenant), site, metric, month of the site's zone
select
    {{ site_and_tenant_columns() }},
    month_start,
    {{ devices_measures() }}
from {{ ref('cube_readings_monthly') }}
where {{ in_touched('touched_months', 'month_start') }}
    and {{ near_touched('touched_months', 'month_start', 31) }}
{{ by_site_and_tenant('month_start') }}
