{# Whether a figure is as a rule of state says; empty where there is no figure. Joined by `rules`. #}
{% macro meets_rule(figure) -%}
    case rules.comparison
        when '>' then {{ figure }} > rules.bound
        when '>=' then {{ figure }} >= rules.bound
        when '<' then {{ figure }} < rules.bound
        when '<=' then {{ figure }} <= rules.bound
    end
{%- endmacro %}
