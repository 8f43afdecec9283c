-- grain: tenant, UTC day with readings, which is the latest one until the next such day
with counted as (
    select
        tenant_id,
        day,
        cast(reading_count as double) as reading_count,
        lead(day) over by_day as next_day,
        -- the day itself is left out of its history: the latest one is rarely whole
        day - min(day) over before as days_before,
        sum(reading_count) over before as count_before,
        sum(cast(reading_count as double) * reading_count) over before as squares_before,
        sum(reading_count) over (by_day rows between unbounded preceding and current row) as readings_received,
        sum(reading_count) over (by_day range between interval 89 days preceding and current row)
            as readings_of_90_days,
        sum(reading_count) over (by_day range between interval 364 days preceding and current row)
            as readings_of_1_year
    from {{ source('build', 'lake_partitions') }}
    window
        by_day as (partition by tenant_id order by day),
        before as (partition by tenant_id order by day rows between 90 preceding and 1 preceding)
)

select
    tenant_id,
    day,
    next_day,
    coalesce(days_before, 1) as history_days,
    coalesce(count_before / days_before, reading_count) as readings_per_day,
    -- silent days between are days of 0 readings; a week at least, so that weekdays are in it
    case
        when days_before >= 7
            then sqrt(
                    greatest(0, days_before * squares_before - count_before * count_before)
                    / (days_before * (days_before - 1.0))
                )
    end as readings_per_day_stddev,
    readings_received,
    readings_of_90_days,
    readings_of_1_year
from counted
