{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'touched_days', 'day': 'day'},
) }}

-- grain: tenant, level (site or tenant), site, metric, day of the site's zone
select
    {{ site_and_tenant_columns() }},
    day,
    {{ devices_measures() }}
from {{ ref('cube_readings_daily') }}
where {{ in_touched('touched_days', 'day') }}
    and {{ near_touched('touched_days', 'day', 0) }}
{{ by_site_and_tenant('day') }}
order by day, tenant_id
