-- grain: tenant, site, performance ratio, ISO week
with amounts as (
    select
        tenant_id,
        tenant_name,
        site_id,
        site_name,
        metric,
        cast(date_trunc('week', day) as date) as week_start,
        sum(value_sum) as amount_sum,
        sum(value_increase) as amount_increase,
        avg(value_time_avg) as amount_average
    from {{ ref('cube_fleet_readings_daily') }}
    where level = 'site'
    group by tenant_id, tenant_name, site_id, site_name, metric, date_trunc('week', day)
),

ratios as (
    select
        spent.tenant_id,
        spent.tenant_name,
        spent.site_id,
        spent.site_name,
        ratios.ratio,
        ratios.ratio_label,
        ratios.better,
        spent.week_start,
        {{ amount_of('spent', 'ratios.numerator_measure') }} as numerator,
        {{ amount_of('got', 'ratios.denominator_measure') }} as denominator
    from {{ source('registry', 'performance_ratios') }} as ratios
    inner join amounts as spent
        on ratios.tenant_id = spent.tenant_id and ratios.numerator_metric = spent.metric
    inner join amounts as got
        on ratios.tenant_id = got.tenant_id
        and ratios.denominator_metric = got.metric
        and spent.site_id = got.site_id
        and spent.week_start = got.week_start
),

weeks as (
    select *, numerator / nullif(denominator, 0) as ratio_value
    from ratios
),

compared as (
    select
        *,
        lag(ratio_value) over by_week as ratio_value_before,
        lag(week_start) over by_week = week_start - 7 as follows_a_week
    from weeks
    window by_week as (partition by tenant_id, site_id, ratio order by week_start)
)

select
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    ratio,
    ratio_label,
    better,
    week_start,
    numerator,
    denominator,
    ratio_value,
    case when follows_a_week then ratio_value / nullif(ratio_value_before, 0) - 1 end as ratio_change,
    case
        when not follows_a_week or ratio_value_before is null or ratio_value is null then null
        when better = 'lower' then ratio_value > ratio_value_before
        else ratio_value < ratio_value_before
    end as is_worse
from compared
