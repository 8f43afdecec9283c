-- What must not be in the changed days of `changes.sql`.
create view gate.local_days as select distinct day + unnest([-1, 0, 1]) as day from gate.days;

create view gate.local_readings as
select * from warehouse.main.fct_readings
where tenant_id = (select tenant_id from gate.tenant) and local_day in (select day from gate.local_days)
    and reading_date between (select min(day) - 2 from gate.days) and (select max(day) + 2 from gate.days)
    and reading_date <= (select day from warehouse.build.as_of);

create view gate.health as
select * from warehouse.main.cube_device_health_daily
where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days);

create view gate.silent_devices as
select device_id from gate.health
where reading_count = 0 and is_registered
    and day = (select max(day) from gate.health where day in (select day from gate.days) and reading_count > 0);

create view gate.hourly_mismatches as
with counted as (
    select device_id, metric, date_trunc('hour', measured_at) as hour_start, count(*) as n
    from gate.readings group by all
),
cube as (
    select device_id, metric, hour_start, sum(reading_count) as n from warehouse.main.cube_readings_hourly
    where tenant_id = (select tenant_id from gate.tenant) and hour_start::date in (select day from gate.days)
        and hour_start >= (select min(day) from gate.days) and hour_start < (select max(day) + 1 from gate.days)
    group by all
)
select * from counted full join cube using (device_id, metric, hour_start) where counted.n is distinct from cube.n;

create view gate.daily_mismatches as
with counted as (select device_id, metric, local_day as day, count(*) as n from gate.local_readings group by all),
cube as (
    select device_id, metric, day, sum(reading_count) as n from warehouse.main.cube_readings_daily
    where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    group by all
)
select * from counted full join cube using (device_id, metric, day)
where coalesce(counted.n, 0) <> coalesce(cube.n, 0);

create view gate.fleet_mismatches as
with counted as (select local_day as day, count(*) as n from gate.local_readings group by all),
fleet as (
    select day, sum(reading_count) as n from warehouse.main.cube_fleet_daily
    where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    group by all
)
select * from counted full join fleet using (day) where coalesce(counted.n, 0) <> coalesce(fleet.n, 0);

create view gate.impossible_figures as
select device_id from warehouse.main.cube_readings_daily
where tenant_id = (select tenant_id from gate.tenant) and day in (select day from gate.local_days)
    and (value_avg < value_min - 1e-9 * abs(value_min) or value_avg > value_max + 1e-9 * abs(value_max)
        or valid_count > reading_count)
union all
select device_id from gate.health
where not (coalesce(completeness, 0) between 0 and 1 and coalesce(availability, 0) between 0 and 1
    and coalesce(valid_share, 0) between 0 and 1);

-- Of one row, read several times: each column counts what must not be.
create table gate.arrival as
select
    (select count(*) from gate.loads where rejected > 0.2 * vals) as mostly_rejected_loads,
    (select count(*) from gate.loads where rejected > 0.01 * vals) as partly_rejected_loads,
    (select count(distinct device_id) from gate.readings where invalid_reason = 'device not registered')
        as unregistered_devices,
    (select count(*) from gate.silent_devices) as silent_devices;

create table gate.cubes as
select
    (select count(*) from gate.hourly_mismatches) as hourly_mismatches,
    (select count(*) from gate.daily_mismatches) as daily_mismatches,
    (select count(*) from gate.fleet_mismatches) as fleet_mismatches,
    (select count(*) from gate.impossible_figures) as impossible_figures;
