-- Where single readings fail, over `changes.sql`; a suite checks them one by one, so this is asked after a failure only.
create table gate.ranges as
select metric, metric_label, metrics.unit, min(valid_min) as valid_min, max(valid_max) as valid_max
from warehouse.registry.devices
    join warehouse.registry.device_model_metrics as limits using (model_id)
    join warehouse.registry.metrics as metrics using (metric)
where tenant_id = (select tenant_id from gate.tenant) and metric in (select distinct metric from gate.readings)
group by all;

create view gate."readings.present" as
select site_id, device_id, readings.metric, missing.name as part, count(*) as unexpected_count
from gate.readings as readings
    cross join (
        select unnest(['tenant_id', 'site_id', 'device_id', 'metric', 'measured_at', 'load_id']) as name
    ) as missing
where case missing.name
        when 'tenant_id' then tenant_id
        when 'site_id' then site_id
        when 'device_id' then device_id
        when 'metric' then metric
        when 'measured_at' then measured_at::varchar
        when 'load_id' then load_id
    end is null
group by all;

create view gate."readings.range" as
select site_id, device_id, readings.metric, readings.metric as part, count(*) as unexpected_count
from gate.readings as readings join gate.ranges using (metric)
where value < valid_min or value > valid_max
group by all;
