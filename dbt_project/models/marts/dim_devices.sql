with registered as (
    select
        devices.tenant_id,
        devices.site_id,
        devices.device_id,
        devices.device_name,
        devices.model_id,
        device_models.model_name,
        device_models.manufacturer,
        devices.commissioned_on,
        devices.decommissioned_on,
        true as is_registered
    from {{ source('registry', 'devices') }} as devices
    inner join {{ source('registry', 'device_models') }} as device_models
        on devices.model_id = device_models.model_id
),

only_heard_of as (
    select
        tenant_id,
        max(site_id) as site_id,
        device_id,
        max(device_name) as device_name,
        cast(null as varchar) as model_id,
        cast(null as varchar) as model_name,
        cast(null as varchar) as manufacturer,
        cast(null as date) as commissioned_on,
        cast(null as date) as decommissioned_on,
        false as is_registered
    from {{ ref('cube_device_health_daily') }}
    where not is_registered
    group by tenant_id, device_id
)

select * from registered
union all
select * from only_heard_of
