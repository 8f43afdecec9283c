{#
    Incremental strategy: replace exactly what the build's new loads touched, then insert the model's rows.
    `touched_by` of the model's config names the scope and the model's own columns that identify a slice:
    {scope: touched_partitions | carried_partitions | touched_days | changed_days | touched_months, day: <column or expression of the target>,
    instant: <the column that `day` is worked out from, if it is not one itself>}.
    Rows that vanished from a touched slice vanish here too, which a delete by the new rows' keys would not do.
#}
{% macro get_incremental_replace_touched_sql(arg_dict) %}
    {%- set touched = config.require('touched_by') -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }} where {{ in_touched(touched['scope'], touched['day']) }}
        and {{ near_touched(touched['scope'], touched.get('instant', touched['day']), 0) }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{# True for rows of the slices that this build replaces. #}
{% macro in_touched(scope, day, tenant='tenant_id') -%}
    ({{ tenant }}, {{ day }}) in (select (tenant_id, day) from {{ source('build', scope) }})
{%- endmacro %}

{# Cheap bounds around a scope for a column of dates or instants, so that storage outside them is never read. #}
{% macro near_touched(scope, column, margin_days=2) -%}
    {{ column }} >= (select min(day) - {{ margin_days }} from {{ source('build', scope) }})
        and {{ column }} < (select max(day) + {{ margin_days + 1 }} from {{ source('build', scope) }})
{%- endmacro %}
