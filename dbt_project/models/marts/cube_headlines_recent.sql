-- grain: tenant, headline metric, day of the 13 weeks up to the tenant's latest day
with daily as (
    select
        headlines.tenant_id,
        cubes.tenant_name,
        headlines.metric,
        headlines.label as headline,
        headlines.rank as headline_rank,
        cubes.unit,
        cubes.day,
        latest.as_of_day,
        case headlines.aggregation
            when 'sum' then sum(cubes.value_sum)
            when 'avg' then sum(cubes.value_sum) / nullif(sum(cubes.valid_count), 0)
            when 'min' then min(cubes.value_min)
            when 'max' then max(cubes.value_max)
        end as value
    from {{ source('registry', 'headline_metrics') }} as headlines
    inner join {{ ref('int_tenants_as_of') }} as latest on headlines.tenant_id = latest.tenant_id
    inner join {{ ref('cube_readings_daily') }} as cubes
        on headlines.tenant_id = cubes.tenant_id and headlines.metric = cubes.metric
    where cubes.day between latest.as_of_day - 97 and latest.as_of_day
    group by
        headlines.tenant_id,
        cubes.tenant_name,
        headlines.metric,
        headlines.label,
        headlines.rank,
        headlines.aggregation,
        cubes.unit,
        cubes.day,
        latest.as_of_day
)

select
    daily.tenant_id,
    daily.tenant_name,
    daily.metric,
    daily.headline,
    daily.headline_rank,
    daily.unit,
    daily.day,
    daily.as_of_day,
    cast(daily.as_of_day - daily.day as integer) as days_before_latest,
    daily.value,
    week_before.value as value_week_before,
    daily.value / nullif(avg(daily.value) over (partition by daily.tenant_id, daily.metric), 0) as relative_to_average
from daily
left join daily as week_before
    on daily.tenant_id = week_before.tenant_id
    and daily.metric = week_before.metric
    and daily.day = week_before.day + 7
where daily.day >= daily.as_of_day - 90
