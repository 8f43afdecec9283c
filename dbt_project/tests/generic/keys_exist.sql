{# Every combination of these columns stands in the dimension: an analyst's join loses no row. #}
{% test keys_exist(model, dimension, keys) %}
select facts.*
from (select distinct {{ keys | join(', ') }} from {{ model }}) as facts
anti join {{ dimension }} as dimension
    on {% for key in keys %}facts.{{ key }} = dimension.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
{% endtest %}
