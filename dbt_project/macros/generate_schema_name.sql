{# Marts live in the target's own schema under their public names; everything else in a schema of its layer. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
