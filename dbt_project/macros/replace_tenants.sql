{#
    Incremental strategy for tables that are small whatever the history, such as the last value of each sensor:
    replace all rows of the tenants that the build's new loads touched.
#}
{% macro get_incremental_replace_tenants_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }} where {{ of_touched_tenants() }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{# True for rows of the tenants that this build changes. #}
{% macro of_touched_tenants() -%}
    tenant_id in (select tenant_id from {{ source('build', 'touched_partitions') }})
{%- endmacro %}
