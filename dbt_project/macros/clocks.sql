{# Clock arithmetic that engines spell differently. Instants are UTC timestamps without zone. #}

{# An instant with a zone as a UTC timestamp without one; asking the zone library costs ten times as much. #}
{% macro utc_timestamp(instant) -%} {{ return(adapter.dispatch('utc_timestamp')(instant)) }} {%- endmacro %}
{% macro duckdb__utc_timestamp(instant) -%} make_timestamp(epoch_us({{ instant }})) {%- endmacro %}

{# The site's wall clock at a UTC instant. #}
{% macro to_local(instant, zone) -%} {{ return(adapter.dispatch('to_local')(instant, zone)) }} {%- endmacro %}
{% macro duckdb__to_local(instant, zone) -%}
    ({{ instant }} at time zone 'UTC' at time zone {{ zone }})
{%- endmacro %}

{# The UTC instant at which the site's wall clock shows `local`. #}
{% macro to_utc(local, zone) -%} {{ return(adapter.dispatch('to_utc')(local, zone)) }} {%- endmacro %}
{% macro duckdb__to_utc(local, zone) -%}
    (cast({{ local }} as timestamp) at time zone {{ zone }} at time zone 'UTC')
{%- endmacro %}

{# So many seconds as an interval. #}
{% macro seconds(count) -%} {{ return(adapter.dispatch('seconds')(count)) }} {%- endmacro %}
{% macro duckdb__seconds(count) -%} to_seconds({{ count }}) {%- endmacro %}

{# Seconds from one instant to another. #}
{% macro seconds_between(earlier, later) -%} {{ return(adapter.dispatch('seconds_between')(earlier, later)) }} {%- endmacro %}
{% macro duckdb__seconds_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1000000.0
{%- endmacro %}

{# The UTC instant at which a local day begins: where clocks go back over midnight, the first of the two. #}
{% macro local_day_start(day, zone) -%}
    case
        when cast({{ to_local('(' ~ to_utc(day, zone) ~ ' - interval 1 hour)', zone) }} as date) = {{ day }}
            then {{ to_utc(day, zone) }} - interval 1 hour
        else {{ to_utc(day, zone) }}
    end
{%- endmacro %}

{# Length of a local day in seconds: 23 and 25 hours when clocks change. #}
{% macro local_day_seconds(day, zone) -%}
    {{ seconds_between(to_utc(day, zone), to_utc('(' ~ day ~ ' + 1)', zone)) }}
{%- endmacro %}

{# The start of the ten minutes by the clock that hold a UTC instant. #}
{% macro ten_minutes(instant) -%} {{ return(adapter.dispatch('ten_minutes')(instant)) }} {%- endmacro %}
{% macro duckdb__ten_minutes(instant) -%} time_bucket(interval 10 minute, {{ instant }}) {%- endmacro %}
