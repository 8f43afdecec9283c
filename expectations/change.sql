-- Whether a sensor's days are where its 28 days before them were, read from the daily cube alone.
--
-- A jump is a day whose median or 95th percentile lies further from the usual one than three spreads, or four of its
-- logarithm. The spread is the greatest of the median absolute deviation, half the range of nearly all values there
-- were (a storm or a stop is within it), and a floor: a fifth of the value, or a factor of 4.5 (e^1.5) in all. So weather
-- is hardly ever a jump, and 1,000 times, a hundredth, or degrees of another scale are: of the sample's 12,000 sensor-days
-- one of fog and three of gusts are. Counters are compared by what they count a day.
--
-- Days that changed since the last snapshot are no history where there are others: what was withheld may be wrong.
create table gate.sensor_history as
with newest as (
    select max(day) as day from gate.days where day <= (select day from warehouse.build.as_of)
)
select
    site_id, device_id, metric, kind, day, reading_count, valid_count,
    case when kind = 'counter' then value_increase else value_p50 end as middle,
    case when kind = 'counter' then value_increase else value_p95 end as high,
    case when kind = 'counter' then value_increase else value_min end as least,
    case when kind = 'counter' then value_increase else value_max end as most,
    day in (select day from gate.days) as is_changed,
    day = (select day from newest) as is_newest
from warehouse.main.cube_readings_daily
where tenant_id = (select tenant_id from gate.tenant) and reading_count > 0
    and day between (select day - 28 from newest) and (select day from newest)
    -- what a counter counted on a part of a day says little
    and (kind <> 'counter' or (site_id, day) not in (
        select (site_id, day) from gate.site_days where share < 1
    ));

create table gate.sensor_judged as
with counted as (
    select *, count(*) filter (not is_changed) over (partition by device_id, metric) >= 7 as has_published
    from gate.sensor_history
)
select
    * exclude (has_published, is_changed, is_newest),
    case when has_published then not is_changed else not is_newest end as is_history,
    case when has_published then is_changed else is_newest end as is_judged
from counted;

create table gate.sensor_usual as
with usual as (
    select
        device_id, metric,
        count(middle) as days,
        median(valid_count / reading_count) as valid_share,
        median(middle) as middle, mad(middle) as middle_mad,
        median(high) as high, mad(high) as high_mad,
        quantile_cont(least, 0.05) as least, quantile_cont(most, 0.95) as most,
        min(least) > 0 as is_positive,
        mad(case when middle > 0 then ln(middle) end) as middle_log_mad,
        mad(case when high > 0 then ln(high) end) as high_log_mad
    from gate.sensor_judged
    where is_history
    group by device_id, metric
    having count(*) >= 7
)
select *, (most - least) / 2 as half_range, case when is_positive then (ln(most) - ln(least)) / 2 end as half_log_range
from usual;

-- How many times as far as a jump a figure lies from the usual one; where nothing is usual (rain, losses), none does.
create macro gate.distance(figure, usual, deviation, half_range) as
    case
        when usual = 0 then 0
        else abs(figure - usual) / (3 * greatest(1.4826 * coalesce(deviation, 0), half_range, 0.2 * abs(usual)))
    end;

create macro gate.distance_by_factor(figure, usual, deviation, half_range) as
    case
        when half_range is null or usual <= 0 or figure <= 0 then 0
        else abs(ln(figure) - ln(usual))
            / greatest(3 * 1.4826 * coalesce(deviation, 0), 4 * half_range, 1.5)
    end;

create table gate.sensor_changes as
select
    site_id, device_id, metric,
    max(case when usual.days >= 7 and judged.middle is not null then greatest(
        gate.distance(judged.middle, usual.middle, middle_mad, half_range),
        gate.distance(judged.high, usual.high, high_mad, half_range),
        gate.distance_by_factor(judged.middle, usual.middle, middle_log_mad, half_log_range),
        gate.distance_by_factor(judged.high, usual.high, high_log_mad, half_log_range)
    ) end) as distance,
    bool_or(valid_count / reading_count < usual.valid_share - 0.5) as has_become_invalid
from gate.sensor_judged as judged join gate.sensor_usual as usual using (device_id, metric)
where is_judged
group by site_id, device_id, metric;

create view gate."change.devices" as
select
    site_id, device_id, metric, (distance is not null)::integer as checked_count,
    coalesce(distance > 1, false)::integer as unexpected_count
from gate.sensor_changes;

-- one or two devices may see a storm that no other does: of so few, twice the distance is a jump
create view gate."change.level" as
select
    site_id, device_id, metric, metric as part, (distance is not null)::integer as checked_count,
    coalesce(distance > case when count(distance) over (partition by metric) < 3 then 2 else 1 end, false)::integer
        as unexpected_count
from gate.sensor_changes;

create view gate."change.valid_share" as
select
    site_id, device_id, metric, metric as part,
    1 as checked_count, has_become_invalid::integer as unexpected_count
from gate.sensor_changes;
