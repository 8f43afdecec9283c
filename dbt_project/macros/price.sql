{# What a tenant's plan asks for a month with so many bytes stored and so many readings a day. #}
{% macro price_of(bytes) -%}
    (
        plan_price
        + greatest(0, {{ bytes }} / 1e9 - included_gb) * price_per_gb_month
        + readings_per_day * 365 / 12 / 1e6 * price_per_million_readings
    )
{%- endmacro %}

{# A part of a whole that may be 0, of which every part is 0 too; empty where the part is. #}
{% macro share_of(part, whole) -%}
    coalesce({{ part }} / nullif({{ whole }}, 0), 0 * {{ part }})
{%- endmacro %}
