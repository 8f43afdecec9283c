{#
    The measures of a readings cube over rows of int_readings_in_order; values are over valid readings only.
    `start` and `end` are the bucket's first instant and the one after its last.
    A value holds until the next one, but no longer than `hold_seconds`; the time-weighted average is over the time
    that is so covered, the part before the bucket's first reading included.
#}
{% macro reading_measures(start, end) -%}
    count(*) as reading_count,
    count(*) filter (where is_valid) as valid_count,
    avg(value) filter (where is_valid) as value_avg,
    min(value) filter (where is_valid) as value_min,
    max(value) filter (where is_valid) as value_max,
    sum(value) filter (where is_valid) as value_sum,
    arg_min(value, measured_at) filter (where is_valid) as value_first,
    arg_max(value, measured_at) filter (where is_valid) as value_last,
    stddev_samp(value) filter (where is_valid) as value_stddev,
    quantile_cont(value, 0.5) filter (where is_valid) as value_p50,
    quantile_cont(value, 0.95) filter (where is_valid) as value_p95,
    sum(value * {{ seconds_held(end) }} + coalesce(value_before * {{ seconds_carried(start) }}, 0))
        filter (where is_valid and value is not null) as value_seconds,
    sum({{ seconds_held(end) }} + {{ seconds_carried(start) }}) filter (where is_valid and value is not null)
        as covered_seconds,
    case when kind = 'counter' then sum({{ counter_increase() }}) filter (where is_valid) end as value_increase,
    case when kind = 'counter' then count(*) filter (where is_valid and {{ is_reset() }}) end as reset_count
{%- endmacro %}

{# The measures of `reading_measures` as the cubes publish them. #}
{% macro finished_measures(rows) -%}
    {{ rows }}.value_avg,
    {{ rows }}.value_min,
    {{ rows }}.value_max,
    {{ rows }}.value_sum,
    {{ rows }}.value_first,
    {{ rows }}.value_last,
    {{ rows }}.value_stddev,
    {{ rows }}.value_p50,
    {{ rows }}.value_p95,
    {{ rows }}.value_seconds / nullif({{ rows }}.covered_seconds, 0) as value_time_avg,
    {{ rows }}.covered_seconds,
    {{ rows }}.value_increase,
    {{ rows }}.reset_count
{%- endmacro %}

{# Seconds that a reading holds within its bucket. #}
{% macro seconds_held(end) -%} {{ seconds_between('measured_at', 'least(held_until, ' ~ end ~ ')') }} {%- endmacro %}

{# Seconds that the reading before, of an earlier bucket, holds in this one; 0 for all but a bucket's first reading. #}
{% macro seconds_carried(start) -%}
    case
        when measured_at_before < {{ start }} then greatest(0, {{ seconds_between(start, 'before_held_until') }})
        else 0
    end
{%- endmacro %}

{# A state's name: the text as sent, or a number without needless decimals. #}
{% macro state_of(text, number) -%}
    coalesce({{ text }}, case
        when {{ number }} = floor({{ number }}) then cast(cast({{ number }} as bigint) as varchar)
        else cast({{ number }} as varchar)
    end)
{%- endmacro %}

{# What a counter counted since the reading before; one that fell began again, at 0 or, near its end, over it. #}
{% macro counter_increase() -%}
    case
        when value_before is null then 0
        when value >= value_before then value - value_before
        when {{ is_rollover() }} then value + rolls_over_at - value_before
        else value
    end
{%- endmacro %}

{% macro is_rollover() -%} value + rolls_over_at - value_before < rolls_over_at / 2 {%- endmacro %}

{% macro is_reset() -%} value < value_before and not coalesce({{ is_rollover() }}, false) {%- endmacro %}

{# The measures of a cube over the rows of a finer one, whose periods begin at `start`; percentiles cannot be added up. #}
{% macro rolled_up_measures(start) -%}
    cast(sum(reading_count) as bigint) as reading_count,
    cast(sum(valid_count) as bigint) as valid_count,
    sum(value_sum) / nullif(sum(valid_count) filter (where value_sum is not null), 0) as value_avg,
    min(value_min) as value_min,
    max(value_max) as value_max,
    sum(value_sum) as value_sum,
    arg_min(value_first, {{ start }}) as value_first,
    arg_max(value_last, {{ start }}) as value_last,
    {{ rolled_up_stddev() }} as value_stddev,
    sum(value_time_avg * covered_seconds) / nullif(sum(covered_seconds), 0) as value_time_avg,
    sum(covered_seconds) as covered_seconds,
    sum(value_increase) as value_increase,
    cast(sum(reset_count) as bigint) as reset_count
{%- endmacro %}

{#
    A readings cube rolled up from a `finer` one, whose periods begin at `start`, to periods that begin at
    `period_start`, called `period`; rows within `margin_days` of the scope's days are read.
#}
{% macro rolled_up_readings(finer, start, period, period_start, scope, margin_days, expected_count) -%}
    with finer as (
        select
            *,
            {{ period_start }} as {{ period }},
            min(value_avg) over (partition by tenant_id, device_id, metric, {{ period_start }}) as least_avg
        from {{ finer }}
        where {{ in_touched(scope, period_start) }}
            and {{ near_touched(scope, start, margin_days) }}
    )

    select
        {{ series_columns() }},
        {{ period }},
        {{ expected_count }} as expected_count,
        {{ rolled_up_measures(start) }}
    from finer
    group by {{ series_columns() }}, {{ period }}
    order by {{ period }}, tenant_id
{%- endmacro %}

{#
    Standard deviation of several groups together, from their counts, averages and standard deviations: the sum of
    squares within groups and between them (Chan, Golub, LeVeque 1983). The smallest average is taken off first,
    so that squares of large values do not swallow small differences.
#}
{% macro rolled_up_stddev() -%}
    case when sum(valid_count) filter (where value_sum is not null) > 1
        then sqrt(greatest(0,
            sum((valid_count - 1) * coalesce(value_stddev, 0) * value_stddev)
            + sum(valid_count * (value_avg - least_avg) * (value_avg - least_avg))
            - sum(valid_count * (value_avg - least_avg)) * sum(valid_count * (value_avg - least_avg))
            / sum(valid_count) filter (where value_sum is not null)
        ) / (sum(valid_count) filter (where value_sum is not null) - 1))
    end
{%- endmacro %}

{# What identifies a series of readings, with its names and unit. #}
{% macro series_columns() -%}
    tenant_id,
    tenant_name,
    site_id,
    site_name,
    device_id,
    device_name,
    metric,
    metric_label,
    unit,
    kind
{%- endmacro %}

{# The measures of many devices together, over rows of a cube by device. #}
{% macro devices_measures() -%}
    count(distinct device_id) filter (where reading_count > 0) as device_count,
    cast(sum(reading_count) as bigint) as reading_count,
    cast(sum(valid_count) as bigint) as valid_count,
    sum(value_sum) / nullif(sum(valid_count) filter (where value_sum is not null), 0) as value_avg,
    min(value_min) as value_min,
    max(value_max) as value_max,
    sum(value_sum) as value_sum,
    sum(value_time_avg * covered_seconds) / nullif(sum(covered_seconds), 0) as value_time_avg,
    sum(value_time_avg) as value_device_sum,
    sum(value_increase) as value_increase
{%- endmacro %}

{# A tenant's row and one for each of its sites, in one pass. #}
{% macro by_site_and_tenant(period) -%}
    group by grouping sets (
        (tenant_id, tenant_name, metric, metric_label, unit, kind, {{ period }}, site_id, site_name),
        (tenant_id, tenant_name, metric, metric_label, unit, kind, {{ period }})
    )
{%- endmacro %}

{% macro site_and_tenant_columns() -%}
    tenant_id,
    tenant_name,
    case when grouping(site_id) = 1 then 'tenant' else 'site' end as level,
    site_id,
    site_name,
    metric,
    metric_label,
    unit,
    kind
{%- endmacro %}

{# Names and units a reader needs beside the keys; joined by `tenants`, `sites`, `devices`, `metrics`. #}
{% macro reading_labels(rows) -%}
    {{ rows }}.tenant_id,
    coalesce(tenants.tenant_name, {{ rows }}.tenant_id) as tenant_name,
    {{ rows }}.site_id,
    coalesce(sites.site_name, {{ rows }}.site_id) as site_name,
    {{ rows }}.device_id,
    coalesce(devices.device_name, {{ rows }}.device_id) as device_name,
    {{ rows }}.metric,
    coalesce(metrics.metric_label, {{ rows }}.metric) as metric_label,
    {{ rows }}.unit
{%- endmacro %}

{% macro join_labels(rows) -%}
    left join {{ source('registry', 'tenants') }} as tenants on {{ rows }}.tenant_id = tenants.tenant_id
    left join {{ source('registry', 'sites') }} as sites
        on {{ rows }}.tenant_id = sites.tenant_id and {{ rows }}.site_id = sites.site_id
    left join {{ source('registry', 'devices') }} as devices
        on {{ rows }}.tenant_id = devices.tenant_id and {{ rows }}.device_id = devices.device_id
    left join {{ source('registry', 'metrics') }} as metrics on {{ rows }}.metric = metrics.metric
    left join {{ ref('stg_device_metrics') }} as rules
        on {{ rows }}.tenant_id = rules.tenant_id
        and {{ rows }}.device_id = rules.device_id
        and {{ rows }}.metric = rules.metric
{%- endmacro %}

{# A column of the row with the latest instant, empty if it is empty there. #}
{% macro last_of(column, instant) -%} {{ return(adapter.dispatch('last_of')(column, instant)) }} {%- endmacro %}
{% macro duckdb__last_of(column, instant) -%} arg_max_null({{ column }}, {{ instant }}) {%- endmacro %}

{# How much of a metric a period has, by the registry's measure. #}
{% macro amount_of(rows, measure) -%}
    case {{ measure }}
        when 'sum' then {{ rows }}.amount_sum
        when 'increase' then {{ rows }}.amount_increase
        when 'average' then {{ rows }}.amount_average
    end
{%- endmacro %}
