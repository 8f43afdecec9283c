{#
    Incremental strategy: make exactly the slices that the build's new loads touched equal to the model's rows.
    `touched_by` of the model's config names the scope and the model's own columns that identify a slice:
    {scope: touched_partitions | carried_partitions | touched_days | changed_days | touched_months, day: <column or expression of the target>,
    instant: <the column that `day` is worked out from, if it is not one itself>}.
    Rows that vanished from a touched slice vanish here too, which a delete by the new rows' keys would not do.
    With a `unique_key` only rows that differ are replaced: to compare a day costs far less than to compress it anew.
#}
{% macro get_incremental_replace_touched_sql(arg_dict) %}
    {%- set target, new_rows = arg_dict['target_relation'], arg_dict['temp_relation'] -%}
    {%- set touched = config.require('touched_by') -%}
    {%- set keys = config.get('unique_key') -%}
    {%- set names = arg_dict['dest_columns'] | map(attribute='name') | list -%}
    {%- set columns = get_quoted_csv(names) -%}
    {%- set is_touched -%}
        {{ in_touched(touched['scope'], touched['day']) }}
        and {{ near_touched(touched['scope'], touched.get('instant', touched['day']), 0) }}
    {%- endset -%}
    {% if keys -%}
    create or replace temporary table differing as
    select old.old_row, new.*
    from (select rowid as old_row, * from {{ target }} where {{ is_touched }}) as old
    full join {{ new_rows }} as new
        on {% for key in keys %}old.{{ key }} is not distinct from new.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
    where {% for name in names %}old.{{ name }} is distinct from new.{{ name }}{{ ' or ' if not loop.last }}{% endfor %};
    delete from {{ target }} where rowid in (select old_row from differing);
    insert into {{ target }} ({{ columns }}) select {{ columns }} from differing where tenant_id is not null;
    drop table differing
    {%- else -%}
    delete from {{ target }} where {{ is_touched }};
    insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ new_rows }}
    {%- endif %}
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
