with cadences as (
    select
        tenant_id,
        device_id,
        min(interval_seconds) as interval_seconds,
        sum(1 / interval_seconds) as expected_per_second
    from {{ ref('stg_device_metrics') }}
    group by tenant_id, device_id
)

select
    devices.tenant_id,
    tenants.tenant_name,
    devices.site_id,
    sites.site_name,
    sites.timezone,
    devices.device_id,
    devices.device_name,
    device_models.model_name,
    devices.commissioned_on,
    devices.decommissioned_on,
    cadences.interval_seconds,
    cadences.expected_per_second
from {{ source('registry', 'devices') }} as devices
inner join {{ source('registry', 'tenants') }} as tenants on devices.tenant_id = tenants.tenant_id
inner join {{ source('registry', 'sites') }} as sites
    on devices.tenant_id = sites.tenant_id and devices.site_id = sites.site_id
inner join {{ source('registry', 'device_models') }} as device_models on devices.model_id = device_models.model_id
left join cadences on devices.tenant_id = cadences.tenant_id and devices.device_id = cadences.device_id
