{# The measures every readings cube carries, over rows of fct_readings; values are over valid readings only. #}
{% macro reading_measures() -%}
    count(*) as reading_count,
    count(*) filter (where is_valid) as valid_count,
    avg(value) filter (where is_valid) as value_avg,
    min(value) filter (where is_valid) as value_min,
    max(value) filter (where is_valid) as value_max,
    sum(value) filter (where is_valid) as value_sum,
    arg_min(value, measured_at) filter (where is_valid) as value_first,
    arg_max(value, measured_at) filter (where is_valid) as value_last,
    stddev_samp(value) filter (where is_valid) as value_stddev
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
