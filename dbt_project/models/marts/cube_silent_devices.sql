-- grain: tenant, registered device in service that is silent for longer than it may be, at the tenant's latest reading
with heard as (
    select tenant_id, device_id, max(last_seen_at) as last_seen_at
    from {{ ref('cube_device_health_daily') }}
    where day <= (select day from {{ source('build', 'as_of') }}) + 1
    group by tenant_id, device_id
),

tenants as (
    select tenant_id, max(last_seen_at) as as_of_at
    from heard
    group by tenant_id
),

devices as (
    select
        devices.tenant_id,
        devices.tenant_name,
        devices.site_id,
        devices.site_name,
        devices.device_id,
        devices.device_name,
        devices.model_name,
        heard.last_seen_at,
        coalesce(heard.last_seen_at, {{ to_utc('devices.commissioned_on', 'devices.timezone') }}) as silent_since,
        tenants.as_of_at,
        coalesce(3 * devices.interval_seconds, 86400) as patience_seconds
    from {{ ref('stg_devices') }} as devices
    inner join tenants on devices.tenant_id = tenants.tenant_id
    left join heard on devices.tenant_id = heard.tenant_id and devices.device_id = heard.device_id
    where devices.commissioned_on <= tenants.as_of_at
        and (devices.decommissioned_on is null or devices.decommissioned_on >= cast(tenants.as_of_at as date))
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    device_id,
    device_name,
    model_name,
    last_seen_at,
    silent_since,
    as_of_at,
    cast({{ seconds_between('silent_since', 'as_of_at') }} / 3600 as double) as silent_hours
from devices
where {{ seconds_between('silent_since', 'as_of_at') }} > patience_seconds
