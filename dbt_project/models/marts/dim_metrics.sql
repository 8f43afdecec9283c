-- grain: metric, registered or only heard of
select metric, metric_label, description, kind, unit, true as is_registered
from {{ source('registry', 'metrics') }}
union all
select distinct
    heard.metric,
    heard.metric as metric_label,
    'Not in the registry.' as description,
    cast(null as varchar) as kind,
    cast(null as varchar) as unit,
    false as is_registered
from {{ ref('cube_readings_daily') }} as heard
anti join {{ source('registry', 'metrics') }} as metrics on heard.metric = metrics.metric
