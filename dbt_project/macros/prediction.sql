{#
    Projections of what adds up day by day. Of the sum of `days` future days, with a mean and a standard deviation
    from `history_days` past ones, the 95 % prediction interval is
    days * mean +- t * stddev * sqrt(days + days^2 / history_days):
    the future days' own scatter, and the uncertainty of the mean. docs/design-notes.md names the source.
#}
{% macro prediction_half_width(days, stddev, history_days) -%}
    {{ student_t_975(history_days ~ ' - 1') }} * {{ stddev }} * sqrt({{ days }} + {{ days }} * {{ days }} / {{ history_days }})
{%- endmacro %}

{#
    The 97.5 % quantile of Student's t, from the normal one by Abramowitz and Stegun, 26.7.5: no engine has it built in.
    Off by less than 0.001 of itself from 6 degrees of freedom on.
#}
{% macro student_t_975(degrees) -%}
    {%- set z = 1.959964 -%}
    ({{ z }}
    + {{ (z ** 3 + z) / 4 }} / ({{ degrees }})
    + {{ (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96 }} / power({{ degrees }}, 2)
    + {{ (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384 }} / power({{ degrees }}, 3))
{%- endmacro %}
