-- where a UTC day is cut by a zone's clock: up to three local days have readings in it
with zones as (
    select distinct timezone from {{ source('registry', 'sites') }}
    union
    select 'UTC' as timezone
),

firsts as (
    select
        zones.timezone,
        days.day as utc_day,
        cast({{ to_local('cast(days.day as timestamp)', 'zones.timezone') }} as date) as first_day
    from zones
    cross join (select distinct day from {{ source('build', 'touched_partitions') }}) as days
),

starts as (
    select
        timezone,
        utc_day,
        first_day,
        {{ local_day_start('(first_day + 1)', 'timezone') }} as second_start,
        {{ local_day_start('(first_day + 2)', 'timezone') }} as third_start
    from firsts
)

select
    timezone,
    utc_day,
    first_day,
    second_start,
    cast({{ to_local('second_start', 'timezone') }} as date) as second_day,
    third_start,
    cast({{ to_local('third_start', 'timezone') }} as date) as third_day
from starts
