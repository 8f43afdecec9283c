with bounds as (
    select min(day) as first_day, max(day) as last_day from {{ ref('cube_fleet_daily') }}
),

days as (
    select cast(unnest(generate_series(first_day, last_day, interval 1 day)) as date) as day from bounds
)

select
    day,
    cast(date_trunc('week', day) as date) as week_start,
    cast(date_trunc('month', day) as date) as month_start,
    cast(extract(year from day) as integer) as year,
    cast(extract(isodow from day) as integer) as weekday,
    dayname(day) as weekday_name
from days
