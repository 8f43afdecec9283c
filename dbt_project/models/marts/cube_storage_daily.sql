-- noqa: disable=LT02
{# Loops write the columns, whose layout sqlfluff sees only as written. #}
{% set kept_days = {'90_days': 90, '1_year': 365} %}
{% set years = {'1_year': 365, '5_years': 1825} %}

-- grain: tenant, UTC day of the measurement, layer
with measured as (
    select
        measurements.tenant_id,
        coalesce(tenants.tenant_name, measurements.tenant_id) as tenant_name,
        measurements.day,
        measurements.layer,
        measurements.layer in ('warehouse', 'operator copy') as is_estimate,
        measurements.day = max(measurements.day) over (partition by measurements.tenant_id) as is_latest,
        measurements.bytes as storage_bytes,
        measurements.reading_count,
        measurements.bytes / nullif(
            max(case when measurements.layer = 'lake' then measurements.reading_count end)
                over (partition by measurements.tenant_id, measurements.day), 0
        ) as bytes_per_reading,
        plans.plan_name,
        plans.currency,
        plans.price_per_month as plan_price,
        plans.included_gb,
        plans.price_per_gb_month,
        plans.price_per_million_readings,
        volumes.history_days,
        volumes.readings_per_day,
        volumes.readings_per_day_stddev,
        -- lake and archive hold nothing but details; of the other layers nobody can say how much of them is
        {%- for kept in kept_days %}
        case
            when measurements.layer in ('lake', 'archive')
                then measurements.bytes * (1 - volumes.readings_of_{{ kept }} / volumes.readings_received)
        end as bytes_saved_if_kept_{{ kept }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ source('build', 'storage_measurements') }} as measurements
    left join {{ source('registry', 'tenants') }} as tenants on measurements.tenant_id = tenants.tenant_id
    left join {{ source('registry', 'plans') }} as plans on tenants.plan_id = plans.plan_id
    left join {{ ref('int_reading_volumes') }} as volumes
        on measurements.tenant_id = volumes.tenant_id
        and measurements.day >= volumes.day
        and (measurements.day < volumes.next_day or volumes.next_day is null)
),

projected as (
    select
        *,
        readings_per_day * bytes_per_reading as growth_bytes_per_day
        {%- for ahead, days in years.items() %},
        storage_bytes + {{ days }} * readings_per_day * bytes_per_reading as storage_bytes_in_{{ ahead }},
        {{ prediction_half_width(days, 'readings_per_day_stddev', 'history_days') }} * bytes_per_reading
            as half_width_in_{{ ahead }}
        {%- endfor %}
    from measured
),

with_retention as (
    select
        *
        {%- for kept, days in kept_days.items() %},
        case
            when bytes_saved_if_kept_{{ kept }} is not null
                then greatest(0, storage_bytes_in_5_years - {{ days }} * growth_bytes_per_day)
        end as bytes_saved_in_5_years_if_kept_{{ kept }}
        {%- endfor %}
    from projected
),

-- a plan's price is one for all the layers of a tenant
with_totals as (
    select
        *,
        sum(storage_bytes) over tenant_day as total_now
        {%- for ahead in years %},
        sum(storage_bytes_in_{{ ahead }}) over tenant_day as total_in_{{ ahead }}
        {%- endfor %}
        {%- for kept in kept_days %},
        sum(bytes_saved_if_kept_{{ kept }}) over tenant_day as saved_by_{{ kept }},
        sum(bytes_saved_in_5_years_if_kept_{{ kept }}) over tenant_day as saved_in_5_years_by_{{ kept }}
        {%- endfor %}
    from with_retention
    window tenant_day as (partition by tenant_id, day)
)

select
    tenant_id,
    tenant_name,
    day,
    layer,
    is_estimate,
    is_latest,
    cast(storage_bytes as bigint) as storage_bytes,
    cast(reading_count as bigint) as reading_count,
    bytes_per_reading,
    cast(history_days as integer) as history_days,
    readings_per_day,
    readings_per_day_stddev,
    growth_bytes_per_day,
    {%- for ahead, days in years.items() %}
    storage_bytes_in_{{ ahead }},
    case
        when half_width_in_{{ ahead }} is not null
            then greatest(cast(storage_bytes as double), storage_bytes_in_{{ ahead }} - half_width_in_{{ ahead }})
    end as storage_bytes_in_{{ ahead }}_low,
    storage_bytes_in_{{ ahead }} + half_width_in_{{ ahead }} as storage_bytes_in_{{ ahead }}_high,
    {%- endfor %}
    plan_name,
    currency,
    {{ price_of('total_now') }} * {{ share_of('storage_bytes', 'total_now') }} as price_per_month
    {%- for ahead in years %},
    {{ price_of('total_in_' ~ ahead) }} * {{ share_of('storage_bytes_in_' ~ ahead, 'total_in_' ~ ahead) }}
        as price_per_month_in_{{ ahead }}
    {%- endfor %}
    {%- for kept in kept_days %},
    bytes_saved_if_kept_{{ kept }},
    ({{ price_of('total_now') }} - {{ price_of('(total_now - saved_by_' ~ kept ~ ')') }})
    * {{ share_of('bytes_saved_if_kept_' ~ kept, 'saved_by_' ~ kept) }} as price_saved_if_kept_{{ kept }},
    bytes_saved_in_5_years_if_kept_{{ kept }},
    ({{ price_of('total_in_5_years') }}
    - {{ price_of('(total_in_5_years - saved_in_5_years_by_' ~ kept ~ ')') }})
    * {{ share_of('bytes_saved_in_5_years_if_kept_' ~ kept, 'saved_in_5_years_by_' ~ kept) }}
        as price_saved_in_5_years_if_kept_{{ kept }}
    {%- endfor %}
from with_totals
