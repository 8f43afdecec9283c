{# The worst trouble of a device over a span, in words; null when healthy. Shares of readings, worst first. #}
{% macro main_issue() -%}
    case
        when not is_registered then 'Not in the registry'
        when reading_count = 0 then 'Silent'
        when availability < 0.9
            then 'Silent for ' || cast(round(100 * (1 - availability)) as integer) || ' % of the time'
        when out_of_range_count > 0.01 * reading_count
            then cast(round(100.0 * out_of_range_count / reading_count, 1) as varchar) || ' % out of range'
        when stuck_count > 0.05 * reading_count
            then cast(round(100.0 * stuck_count / reading_count) as integer) || ' % stuck at one value'
        when completeness < 0.99
            then cast(round(100 * completeness) as integer) || ' % of expected readings'
        when out_of_range_count > 0 then out_of_range_count || ' readings out of range'
        when invalid_count > 0 then invalid_count || ' invalid readings'
        when stuck_count > 0 then stuck_count || ' readings stuck at one value'
    end
{%- endmacro %}
