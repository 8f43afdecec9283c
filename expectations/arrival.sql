-- What is counted of loads and days as they arrived. Of each rule the view of its key has rows of keys with what was
-- checked and what was not as it should be.
create view gate."arrival.mostly_rejected" as
select source, value_count as checked_count, rejected_count as unexpected_count
from gate.loads
where not is_set_aside and value_count > 0;

create view gate."arrival.rejected_share" as from gate."arrival.mostly_rejected";
create view gate."arrival.rejected_values" as from gate."arrival.mostly_rejected";

create view gate."arrival.files_set_aside" as
select source, count(*) as checked_count, count(*) filter (is_set_aside) as unexpected_count from gate.loads group by all;

create view gate."arrival.repeated_files" as
select source, count(*) as checked_count, count(*) filter (is_repeated) as unexpected_count from gate.arrived group by all;

create view gate."arrival.new_columns" as
select source, count(*) as checked_count, count(*) filter (has_new_columns) as unexpected_count
from gate.loads
group by all;

create view gate."arrival.missing_columns" as
select source, count(*) as checked_count, count(*) filter (lacks_columns) as unexpected_count
from gate.loads
group by all;

-- what claims to be of the future says nothing about how new the rest is
create view gate."arrival.freshness" as
with newest as (
    select source, received_at, last_measured_at
    from gate.loads
    where last_measured_at is not null
    qualify row_number() over (partition by source order by place desc) = 1
)
select
    source, count(*) as checked_count,
    count(*) filter (last_measured_at < received_at - interval 1 day) as unexpected_count
from newest
group by all;

-- A weekday is not a Sunday: usual is what lies between the lowest and the highest tenth. The newest day is not over.
create view gate."arrival.volume" as
with history as (
    select
        day, reading_count,
        lead(day) over (order by day) is not null as is_over,
        count(*) over before as days_before,
        quantile_cont(reading_count, 0.1) over before as usual_low,
        quantile_cont(reading_count, 0.9) over before as usual_high
    from warehouse.build.lake_partitions
    where tenant_id = (select tenant_id from gate.tenant)
        and day between (select min(day) - 28 from gate.days) and (select max(day) + 1 from gate.days)
    window before as (order by day range between interval 28 days preceding and interval 1 day preceding)
)
select
    count(*) as checked_count,
    count(*) filter (reading_count > 2 * usual_high or is_over and reading_count < usual_low / 2) as unexpected_count
from history
where day in (select day from gate.days) and days_before >= 7;
