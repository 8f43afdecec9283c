-- grain: tenant, site, registered or only heard of
select tenant_id, site_id, site_name, timezone, latitude, longitude, true as is_registered
from {{ source('registry', 'sites') }}
union all
select distinct
    heard.tenant_id,
    heard.site_id,
    heard.site_id as site_name,
    'UTC' as timezone,
    cast(null as double) as latitude,
    cast(null as double) as longitude,
    false as is_registered
from {{ ref('cube_readings_daily') }} as heard
anti join {{ source('registry', 'sites') }} as sites
    on heard.tenant_id = sites.tenant_id and heard.site_id = sites.site_id
