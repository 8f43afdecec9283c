-- What is counted of the cubes over the changed days. Of each rule the view of its key has rows of keys with what was
-- checked and what was not as it should be. Sums agree to what adding them up in another order can change.
create view gate.local_readings as
select * from warehouse.main.fct_readings
where tenant_id = (select tenant_id from gate.tenant) and local_day in (select day from gate.local_days)
    and reading_date between (select min(day) - 2 from gate.days) and (select max(day) + 2 from gate.days)
    and reading_date <= (select day from warehouse.build.as_of);

create view gate.hours as
select * from warehouse.main.cube_readings_hourly
where tenant_id = (select tenant_id from gate.tenant) and hour_start::date in (select day from gate.days)
    and hour_start >= (select min(day) from gate.days) and hour_start < (select max(day) + 1 from gate.days);

create view gate.daily as
select * from warehouse.main.cube_readings_daily
where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    and day between (select min(day) from gate.local_days) and (select max(day) from gate.local_days);

create view gate.fleet_daily as
select * from warehouse.main.cube_fleet_readings_daily
where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    and day between (select min(day) from gate.local_days) and (select max(day) from gate.local_days);

create macro gate.differs(count_a, count_b, valid_a, valid_b, sum_a, sum_b, extent) as
    coalesce(count_a, 0) <> coalesce(count_b, 0) or coalesce(valid_a, 0) <> coalesce(valid_b, 0)
    or (sum_a is null) <> (sum_b is null)
    or abs(sum_a - sum_b) > 1e-9 * (1 + coalesce(valid_a, 0)) * coalesce(extent, 0);

create view gate."cubes.missing_partitions" as
with wanted as (
    select day from warehouse.build.lake_partitions semi join gate.days using (day)
    where tenant_id = (select tenant_id from gate.tenant)
),
there as (
    select day from (select distinct measured_at::date as day from gate.readings)
    intersect select distinct hour_start::date from gate.hours
    intersect
    select distinct day from warehouse.main.cube_readings_utc_daily
    where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.days)
)
select 1 as checked_count, (there.day is null)::integer as unexpected_count from wanted left join there using (day);

create view gate."cubes.hourly_mismatches" as
with counted as (
    select device_id, metric, date_trunc('hour', measured_at) as hour_start, count(*) as n
    from gate.readings group by all
),
cube as (select device_id, metric, hour_start, sum(reading_count) as n from gate.hours group by all)
select
    device_id, metric,
    count(*) as checked_count, count(*) filter (counted.n is distinct from cube.n) as unexpected_count
from counted full join cube using (device_id, metric, hour_start)
group by all;

create view gate."cubes.daily_mismatches" as
with counted as (select device_id, metric, local_day as day, count(*) as n from gate.local_readings group by all),
cube as (select device_id, metric, day, sum(reading_count) as n from gate.daily group by all)
select
    device_id, metric,
    count(*) as checked_count, count(*) filter (coalesce(counted.n, 0) <> coalesce(cube.n, 0)) as unexpected_count
from counted full join cube using (device_id, metric, day)
group by all;

create view gate."cubes.utc_daily_mismatches" as
with hours as (
    select
        device_id, metric, hour_start::date as day, sum(reading_count) as n, sum(valid_count) as valid,
        sum(value_sum) as total, max(greatest(abs(value_min), abs(value_max))) as extent
    from gate.hours group by all
),
days as (
    select device_id, metric, day, sum(reading_count) as n, sum(valid_count) as valid, sum(value_sum) as total
    from warehouse.main.cube_readings_utc_daily
    where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.days)
        and day between (select min(day) from gate.days) and (select max(day) from gate.days)
    group by all
)
select
    device_id, metric, count(*) as checked_count,
    count(*) filter (gate.differs(hours.n, days.n, hours.valid, days.valid, hours.total, days.total, extent))
        as unexpected_count
from hours full join days using (device_id, metric, day)
group by all;

create view gate."cubes.utc_monthly_mismatches" as
with touched as (select distinct date_trunc('month', day)::date as month_start from gate.days),
days as (
    select
        device_id, metric, date_trunc('month', day)::date as month_start, sum(reading_count) as n,
        sum(valid_count) as valid, sum(value_sum) as total, max(greatest(abs(value_min), abs(value_max))) as extent
    from warehouse.main.cube_readings_utc_daily
    where tenant_id = (select tenant_id from gate.tenant)
        and date_trunc('month', day)::date in (select month_start from touched)
        and day >= (select min(month_start) from touched)
        and day < (select max(month_start) + interval 1 month from touched)
    group by all
),
months as (
    select device_id, metric, month_start, sum(reading_count) as n, sum(valid_count) as valid, sum(value_sum) as total
    from warehouse.main.cube_readings_utc_monthly
    where tenant_id = (select tenant_id from gate.tenant) and month_start in (select month_start from touched)
    group by all
)
select
    device_id, metric, count(*) as checked_count,
    count(*) filter (gate.differs(days.n, months.n, days.valid, months.valid, days.total, months.total, extent))
        as unexpected_count
from days full join months using (device_id, metric, month_start)
group by all;

create view gate."cubes.site_mismatches" as
with devices as (
    select
        coalesce(site_id, '') as site_id, metric, day, sum(reading_count) as n, sum(valid_count) as valid,
        sum(value_sum) as total, max(greatest(abs(value_min), abs(value_max))) as extent
    from gate.daily group by all
),
sites as (
    select
        coalesce(site_id, '') as site_id, metric, day,
        sum(reading_count) as n, sum(valid_count) as valid, sum(value_sum) as total
    from gate.fleet_daily where level = 'site' group by all
)
select
    site_id, metric, count(*) as checked_count,
    count(*) filter (gate.differs(devices.n, sites.n, devices.valid, sites.valid, devices.total, sites.total, extent))
        as unexpected_count
from devices full join sites using (site_id, metric, day)
group by all;

create view gate."cubes.tenant_mismatches" as
with sites as (
    select
        metric, day, sum(reading_count) as n, sum(valid_count) as valid, sum(value_sum) as total,
        max(greatest(abs(value_min), abs(value_max))) as extent
    from gate.fleet_daily where level = 'site' group by all
),
tenants as (
    select metric, day, sum(reading_count) as n, sum(valid_count) as valid, sum(value_sum) as total
    from gate.fleet_daily where level = 'tenant' group by all
)
select
    metric, count(*) as checked_count,
    count(*) filter (gate.differs(sites.n, tenants.n, sites.valid, tenants.valid, sites.total, tenants.total, extent))
        as unexpected_count
from sites full join tenants using (metric, day)
group by all;

create view gate."cubes.fleet_mismatches" as
with counted as (
    select coalesce(site_id, '') as site_id, local_day as day, count(*) as n from gate.local_readings group by all
),
fleet as (
    select coalesce(site_id, '') as site_id, day, sum(reading_count) as n
    from warehouse.main.cube_fleet_daily
    where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    group by all
)
select
    site_id,
    count(*) as checked_count, count(*) filter (coalesce(counted.n, 0) <> coalesce(fleet.n, 0)) as unexpected_count
from counted full join fleet using (site_id, day)
group by all;

create view gate."cubes.impossible_figures" as
select
    site_id, device_id, metric, count(*) as checked_count,
    count(*) filter (
        value_avg < value_min - 1e-9 * abs(value_min) or value_avg > value_max + 1e-9 * abs(value_max)
        or valid_count > reading_count
    ) as unexpected_count
from gate.daily
group by all
union all by name
select
    site_id, device_id, count(*) as checked_count,
    count(*) filter (
        not (coalesce(completeness, 0) between 0 and 1 and coalesce(availability, 0) between 0 and 1
            and coalesce(valid_share, 0) between 0 and 1)
    ) as unexpected_count
from gate.health
group by all;
