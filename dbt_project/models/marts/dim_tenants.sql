-- grain: tenant, registered or only heard of
select tenant_id, tenant_name, industry, true as is_registered
from {{ source('registry', 'tenants') }}
union all
select distinct
    heard.tenant_id,
    heard.tenant_id as tenant_name,
    cast(null as varchar) as industry,
    false as is_registered
from {{ ref('cube_device_health_daily') }} as heard
anti join {{ source('registry', 'tenants') }} as tenants on heard.tenant_id = tenants.tenant_id
