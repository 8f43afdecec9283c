{{ config(
    materialized='incremental', incremental_strategy='replace_touched',
    touched_by={'scope': 'carried_partitions', 'day': 'cast(hour_start as date)', 'instant': 'hour_start'},
) }}

-- grain: tenant, site, metric with a tariff, UTC hour
with priced as (
    select
        tariffs.*,
        lead(valid_from) over (partition by tenant_id, metric, from_hour order by valid_from) as valid_until
    from {{ source('registry', 'tariffs') }} as tariffs
),

hours as (
    select
        tenant_id,
        tenant_name,
        site_id,
        site_name,
        metric,
        metric_label,
        unit,
        hour_start,
        local_day,
        local_hour,
        sum(value_sum) as amount_sum,
        sum(value_increase) as amount_increase
    from {{ ref('cube_readings_hourly') }}
    where {{ in_touched('carried_partitions', 'cast(hour_start as date)') }}
        and {{ near_touched('carried_partitions', 'hour_start', 0) }}
        and (tenant_id, metric) in (select (tenant_id, metric) from {{ source('registry', 'tariffs') }})
    group by all
),

costs as (
    select
        hours.*,
        case priced.measure when 'increase' then hours.amount_increase else hours.amount_sum end as quantity,
        priced.price_per_unit,
        priced.currency
    from hours
    inner join priced
        on hours.tenant_id = priced.tenant_id
        and hours.metric = priced.metric
        and hours.local_hour >= priced.from_hour
        and hours.local_hour < priced.to_hour
        and hours.local_day >= priced.valid_from
        and (priced.valid_until is null or hours.local_day < priced.valid_until)
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    metric,
    metric_label,
    unit,
    hour_start,
    local_day,
    local_hour,
    quantity,
    price_per_unit,
    currency,
    quantity * price_per_unit as cost
from costs
order by hour_start, tenant_id
